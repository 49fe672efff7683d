import json

import pytest

from torl.console import CommandError
from torl.environment import made
from torl.training.datasets import open_datasets
from torl.training.options import TrainOptions
from torl_env import EnvConfig
from torl_env.problems import Listed, Problem, load, mix


def problem_file(path, questions):
    rows = [{"problem": q, "answer": str(i)} for i, q in enumerate(questions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def question(i):
    return (
        f"A farmer has {i} goats, {i + 1} hens and {i + 7} sheep. How many animals has the farmer?"
    )


@pytest.fixture
def options(tmp_path):
    train = problem_file(tmp_path / "train.jsonl", [question(i) for i in range(20)])
    heldout = problem_file(tmp_path / "heldout.jsonl", [question(i) for i in range(15, 40)])
    return {"problems": train, "heldout": heldout, "warm_start": 0, "steps": 3, "prompts": 8}


def opened(options):
    return open_datasets(made(TrainOptions, options))


def search(word: str) -> str:
    """Look a word up."""
    return word


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ({}, 96),
        ({"problems": "train.jsonl"}, 0),
        ({"tools": (search,)}, 0),
        ({"text_env": "mine:Shop"}, 0),
        ({"warm_start": 5, "problems": "train.jsonl"}, 5),
        ({"warm_start": 0}, 0),
    ],
)
def test_only_our_own_problems_with_our_own_tool_have_worked_texts_to_start_from(given, texts):
    env = {name: given[name] for name in ("problems", "tools") if name in given}
    rest = {name: value for name, value in given.items() if name not in env}
    assert TrainOptions(env=EnvConfig(**env), **rest).warm_start == texts


def test_training_on_held_out_problems_is_refused(options):
    with pytest.raises(CommandError, match="5 of 25 held-out problems"):
        opened(options)


@pytest.mark.parametrize(
    ("problems", "split"), [("procedural:easy", "heldout"), ("procedural:transfer", None)]
)
def test_the_held_out_side_of_procedural_problems_is_no_training_set(problems, split):
    given = {"problems": problems, "split": split, "warm_start": 0, "steps": 1, "prompts": 8}
    with pytest.raises(CommandError, match=f"8 of 1000 held-out problems of {problems}"):
        opened(given)
    assert opened(given | {"allow_overlap": problems}).schedule


def test_traces_of_held_out_procedural_problems_are_refused(tmp_path):
    given = {"problems": "procedural:easy", "warm_start": 0, "steps": 1, "prompts": 8}
    traces = tmp_path / "traces.jsonl"
    for split in ("train", "heldout"):
        asked = [problem.question for problem in load("procedural:easy", split).head(40)]
        rows = [{"question": text, "response": "\\boxed{1}"} for text in asked]
        traces.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if split == "train":
            assert opened(given | {"traces": traces}).schedule
        else:
            with pytest.raises(CommandError, match=r"4\d of 1000 held-out problems"):
                opened(given | {"traces": traces})


def test_sources_that_share_ids_are_compared_as_a_whole(options):
    """Files number their rows from 0: of a mix of two each id may name two problems."""
    mine = [Problem(str(i), question(i), "1") for i in range(15, 20)]
    fine = [Problem(str(i), f"What is {i} + {i}?", "1") for i in range(15, 20)]
    for pair in ((mine, fine), (fine, mine)):
        both = mix(*(Listed("a", problems) for problems in pair))
        given = options | {"problems": both, "steps": 1, "prompts": 10}
        with pytest.raises(CommandError, match="5 of 25 held-out problems"):
            opened(given)


def test_imitating_held_out_problems_is_refused_too(options):
    with pytest.raises(CommandError, match="5 of 25 held-out problems"):
        opened(options | {"warm_start": 20, "steps": 1, "prompts": 1})


def test_a_warm_start_on_problems_without_programs_is_refused(options):
    with pytest.raises(CommandError, match="--warm-start: expected procedural problems"):
        opened(options | {"warm_start": 5, "eval_problems": 0, "heldout": ""})


@pytest.mark.parametrize("count", [0, 1])
def test_all_of_a_held_out_set_counts_whatever_part_a_run_looks_at(options, count):
    with pytest.raises(CommandError, match="5 of 25 held-out problems"):
        opened(options | {"eval_problems": count})


def test_traces_are_compared_too(options, tmp_path):
    fine = options | {"problems": problem_file(tmp_path / "fine.jsonl", ["What is 2 + 2?"] * 3)}
    assert opened(fine).schedule
    traces = tmp_path / "traces.jsonl"
    rows = [{"question": question(i), "response": "\\boxed{1}"} for i in (16, 17, 50)]
    traces.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CommandError, match=r"2 of 25 held-out problems .*traces.jsonl:1 = "):
        opened(fine | {"traces": traces})
    bare = {"prompt_ids": [1], "ids": [2], "loss_mask": [1], "text": "x"}
    traces.write_text(json.dumps(bare) + "\n")
    assert opened(fine | {"traces": traces}).schedule


def test_it_can_be_allowed_by_name_only(options):
    with pytest.raises(CommandError):
        opened({**options, "allow_overlap": "another.jsonl"})
    found = opened({**options, "allow_overlap": options["heldout"]})
    assert len(found.schedule) == 24
    assert len({problem.id for problem in found.schedule[:20]}) == 20
    again = [problem.id for problem in found.schedule[20:]]
    assert len(set(again)) == 4, "a second pass, in an order of its own"
    assert set(again) <= {problem.id for problem in found.schedule[:20]}


def test_a_small_held_out_set_is_taken_once(options):
    found = opened({**options, "allow_overlap": options["heldout"]})
    ids = [problem.id for problem in found.heldout]
    assert len(ids) == len(set(ids)) == 25


def test_a_part_of_a_held_out_set_is_the_same_random_part_for_every_seed(options):
    parts = [
        opened(
            options | {"eval_problems": 5, "seed": seed, "allow_overlap": options["heldout"]}
        ).heldout
        for seed in (0, 1)
    ]
    assert parts[0] == parts[1]
    assert [problem.answer for problem in parts[0]] != ["0", "1", "2", "3", "4"]


def test_each_pass_over_the_problems_has_an_order_of_its_own(options):
    found = opened(options | {"heldout": "", "eval_problems": 0, "steps": 5})
    ids = [problem.id for problem in found.schedule]
    first, second = ids[:20], ids[20:]
    assert sorted(first) == sorted(second)
    assert first != second


def test_a_file_has_no_held_out_split(options):
    with pytest.raises(CommandError, match="name one with --heldout"):
        opened({**options, "heldout": ""})


def test_generated_splits_are_disjoint():
    found = open_datasets(TrainOptions(eval_problems=64))
    trained = {p.question for p in (*found.warm_start, *found.schedule)}
    assert len(found.heldout) == 64
    assert not trained & {p.question for p in found.heldout}
