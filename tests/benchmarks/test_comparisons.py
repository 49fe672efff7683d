"""Compare, regrade, select, rank: everything that reads records and needs no inference."""

import json
import random
from dataclasses import replace

import gymnasium as gym
import pytest

import rewards
import torl_env
from agents.core.run.storage import RecordError
from agents.core.types import Turn
from benchmarks.heldout import Header, Records, summarise
from benchmarks.heldout.compare import compare
from benchmarks.heldout.records import grader_name, weights_hash
from benchmarks.heldout.regrade import regrade
from benchmarks.heldout.selectors import Selector, best_of
from benchmarks.report.leaderboard import find_summaries, leaderboard, macro_average
from benchmarks.report.published import EXCERPTS, PAPERS, TORL, published
from benchmarks.report.tables import samples
from torl_env import EnvConfig
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem


def header(model="m", problems="test", count=60, k=4, **changes):
    values = {"fingerprint": "f", "seed": 0, "grader": "g", "settings": {"tool_budget": 1}}
    return Header(model=model, problems=problems, count=count, k=k, **(values | changes))


@pytest.fixture
def evaluation(make):
    """Records in which level 2 problems are solved with `skill`, level 1 always half."""

    def build(skill, seed, count=60, k=4, **changes):
        rng = random.Random(seed)
        found = []
        for i in range(count):
            level = str(1 + i % 2)
            chance = skill if level == "2" else 0.5
            found += [
                make(f"p{i}", s, rng.random() < chance, level=level, subject="") for s in range(k)
            ]
        return Records(header(count=count, k=k, **changes), tuple(found))

    return build


def test_a_real_difference_is_found_where_it_is(evaluation):
    found = compare(evaluation(0.2, 1, model="a"), evaluation(0.9, 2, model="b"))
    lines = {line.name: line for line in found.lines}
    assert list(lines) == ["all", "level 1", "level 2"]
    assert lines["all"].real
    assert lines["level 2"].real
    assert lines["level 2"].difference.difference.low > 0.4
    assert not lines["level 1"].real
    assert lines["level 1"].adjusted >= lines["level 1"].difference.p_value
    assert found.warnings == ()


def test_a_run_does_not_differ_from_itself(evaluation):
    a = evaluation(0.5, 1)
    assert not any(line.real for line in compare(a, a).lines)


def test_two_graders_are_not_compared(evaluation):
    with pytest.raises(RecordError, match=r"two graders.*torl regrade"):
        compare(evaluation(0.5, 1), evaluation(0.5, 1, grader="other"))


def test_other_problems_are_refused_or_said(evaluation):
    a, b = evaluation(0.5, 1), evaluation(0.5, 2, count=40, fingerprint="other", k=2)
    warnings = " / ".join(compare(a, b).warnings)
    assert "compared on the 40 that both have" in warnings
    assert "A has 4 answers to a problem, B has 2" in warnings
    strangers = tuple(replace(t, problem_id="x" + t.problem_id) for t in b.trajectories)
    with pytest.raises(RecordError, match="no problem is in both"):
        compare(a, Records(b.header, strangers))


def test_one_id_of_two_questions_is_not_one_problem(evaluation):
    """Files with an `id` column number their problems alike."""
    a, b = evaluation(0.5, 1), evaluation(0.5, 2, fingerprint="other")

    def asked(records, changed):
        return Records(
            records.header,
            tuple(
                replace(t, question=changed.get(t.problem_id, "How many?"))
                for t in records.trajectories
            ),
        )

    ours, theirs = asked(a, {}), asked(b, {f"p{i}": "Of what?" for i in range(20)})
    found = compare(ours, theirs)
    assert found.lines[0].difference.difference.count == 40
    assert "compared on the 40 that both have" in " / ".join(found.warnings)
    with pytest.raises(RecordError, match="no problem is in both"):
        compare(ours, asked(b, {f"p{i}": "Of what?" for i in range(60)}))
    silent = asked(a, {f"p{i}": "" for i in range(60)})
    assert compare(silent, theirs).lines[0].difference.difference.count == 60


def test_the_same_problems_in_another_order_are_the_same(evaluation):
    """A training evaluates its held-out problems shuffled, `torl eval` the file as it is."""
    a, b = evaluation(0.5, 1), evaluation(0.5, 2, fingerprint="other")
    stated = [
        Records(
            one.header,
            tuple(replace(t, question=t.problem_id, reference="1") for t in one.trajectories),
        )
        for one in (a, b)
    ]
    assert compare(*stated).warnings == ()


def test_problems_that_the_machine_lost_are_said(evaluation):
    a = evaluation(0.5, 1)
    lost = tuple(
        replace(t, scorable=t.problem_id not in {"p0", "p1"})
        for t in evaluation(0.5, 2).trajectories
    )
    found = compare(a, Records(a.header, lost))
    assert found.lines[0].difference.difference.count == 58
    assert found.warnings[0].startswith("2 of the 60 problems of both are left out")


def test_incomplete_records_are_said(evaluation):
    a = evaluation(0.5, 1)
    half = Records(a.header, a.trajectories[:100])
    assert "B is not complete: 100 of 240" in compare(a, half).warnings[0]


SCRIPTS = [
    ["I know: \\boxed{42}."],
    ["```python\nprint(6*7)\n```\n", "So it is \\boxed{42}."],
    ["```python\nprint('\\\\boxed{42}')\n```\n", "Then \\boxed{41}."],
    ["First \\boxed{41}.\n```python\nprint(42)\n```\n", "\\boxed{42}"],
    ["Once.\n```python\nprint(1)\n```\n", "Twice.\n```python\nprint(2)\n```\n", "\\boxed{42}"],
    ["```python\nprint(1)\n```\n", "\\boxed{4\n```python\nprint(2)\n```\n", "2}"],
    ["no idea"],
    ["\\boxed{\\frac{84}{2}}"],
]


def play(make, script, budget):
    problem = Problem("p", "6 x 7?", "42")
    env = gym.make(
        torl_env.ENV_ID,
        problems=Listed("one", [problem]),
        tool_budget=budget,
        disable_env_checker=True,
    )
    env.reset(seed=0)
    turns = []
    for text in script:
        seen, _, terminated, truncated, info = env.step(text)
        turns.append(Turn(text, seen, 0, 0, info["action_kind"], info["tool_status"], "", 0.0))
        if terminated or truncated:
            break
    env.close()
    assert terminated
    return make(turns=turns, verdict=info["verdict"], answer=info["answer"], reference="42")


@pytest.mark.parametrize("budget", [0, 1, 2])
@pytest.mark.parametrize("script", SCRIPTS)
def test_regrading_with_the_same_grader_changes_nothing(make, script, budget):
    played = play(make, script, budget)
    found = regrade(Records(header(count=1, k=1), (played,)), rewards.grade, grader_name())
    assert found.changes == ()
    assert found.records.trajectories == (played,)


def test_turns_are_read_as_the_environment_on_record_read_them(make):
    """In a call of Hermes a box is no answer; to a reader of fences it would be one."""
    call = '<tool_call>{"name": "python", "arguments": {"code": "\\\\boxed{42}"}}</tool_call>'
    played = make(turns=[Turn(f"It is 41.\n{call}", "", 0, 0, "cut", "", "", 0.0)], reference="42")
    played = replace(played, verdict="no_answer", answer="")
    kept = json.loads(EnvConfig(parser="hermes").to_json())
    by_record, by_fences = (
        regrade(Records(replace(header(), environment=env), (played,)), rewards.grade, "new")
        for env in (kept, {})
    )
    assert (by_record.changes, len(by_fences.changes)) == ((), 1)


def test_verdicts_of_ones_own_environment_are_not_given_again(evaluation):
    old = evaluation(0.5, 1, count=2, grader="the environment Mine-v0")
    with pytest.raises(RecordError, match="Mine-v0 gave the verdicts"):
        regrade(old, rewards.grade, "new")


def test_another_grader_changes_what_it_must(make):
    old = Records(
        header(),
        (
            make("a", verdict="wrong", correct=False),
            make("b"),
            make("c", infra_error="worker died", scorable=False),
            make("d", reference=""),
        ),
    )
    found = regrade(old, rewards.grade, "new")
    assert [(c.problem_id, c.before, c.after) for c in found.changes] == [
        ("a", "wrong", "correct"),
        ("d", "correct", "ungradable"),
    ]
    assert found.records.header.grader == "new"
    assert not found.records.trajectories[2].scorable
    assert not found.records.trajectories[3].scorable


def candidates(make, tool, *rows):
    return [
        make("p", i, correct, [tool(status) for status in statuses], answer=answer)
        for i, (correct, answer, statuses) in enumerate(rows)
    ]


@pytest.fixture
def group(make, turn):
    def tool(status):
        return turn("```python\n```\n", "x", status, "", kind="tool")

    return candidates(
        make,
        tool,
        (True, "42", ["ok"]),
        (False, "7", ["error", "ok"]),
        (False, "7", ["ok"]),
        (False, "7", []),
    )


@pytest.mark.parametrize(
    ("selector", "accuracy"),
    [
        (Selector.RANDOM, 0.25),
        (Selector.MAJORITY, 0.0),
        (Selector.EXECUTION, 0.5),
        (Selector.EXECUTION_MAJORITY, 0.0),
        (Selector.ORACLE, 1.0),
    ],
)
def test_selectors_on_a_hand_counted_group(group, selector, accuracy):
    assert best_of(group, 4, selector).value == accuracy
    assert best_of(group, 1, selector).value == 1.0
    assert best_of(group, 5, selector).count == 0


def test_one_answer_in_two_spellings_is_one_camp(make):
    said = [(True, "1/2"), (False, "3"), (True, "\\frac{1}{2}")]
    rows = [make("p", i, right, answer=answer) for i, (right, answer) in enumerate(said)]
    assert best_of(rows, 3, Selector.MAJORITY).value == 1.0


def test_nothing_votes_where_right_answers_are_no_texts(make):
    """Programs under tests: right ones leave no text, wrong ones the reason of their failure."""
    rows = [
        make(f"p{i}", s, s < 3, answer="" if s < 3 else "test 0: no", subject="", level="")
        for i in range(2)
        for s in range(4)
    ]
    found = summarise(Records(header(count=2), tuple(rows)))
    assert found.accuracy.value == 0.75
    assert {size: one.count for size, one in found.majority_at.items()} == {1: 0, 2: 0, 4: 0}
    assert "no votes" in samples(found).markdown()
    for selector in (Selector.MAJORITY, Selector.EXECUTION_MAJORITY):
        assert best_of(rows, 4, selector).count == 0
    assert best_of(rows, 4, Selector.RANDOM).value == 0.75


def test_majority_selector_is_maj_at_k(evaluation):
    records = evaluation(0.6, 5)
    assert best_of(records.trajectories, 4, Selector.MAJORITY).value == pytest.approx(
        summarise(records).majority_at[4].value
    )


def test_leaderboard_averages_only_whole_rows(evaluation):
    def summary(model, suite, skill, **changes):
        return summarise(evaluation(skill, 1, model=model, problems=suite, **changes))

    board = leaderboard(
        [
            summary("weak", "x", 0.1),
            summary("weak", "y", 0.1),
            summary("strong", "x", 0.9),
            summary("strong", "y", 0.9),
            summary("partial", "x", 1.0),
        ]
    )
    assert board.warnings == ()
    assert [row[0] for row in board.table.rows] == ["strong", "weak", "partial"]
    assert board.table.rows[2][-1] == "-"
    assert board.table.columns == ("model", "protocol", "x", "y", "average")


def test_leaderboard_keeps_protocols_apart_and_warns(evaluation):
    a = summarise(evaluation(0.5, 1))
    b = summarise(evaluation(0.5, 1, settings={"tool_budget": 0}, grader="h", fingerprint="z"))
    board = leaderboard([a, b, a])
    assert {row[1] for row in board.table.rows} == {"avg@4 C=1", "avg@4 C=0"}
    text = " / ".join(board.warnings)
    assert "2 graders (g, h)" in text
    assert "differ in their problems or in the order" in text
    assert "measured more than once" in text


def test_leaderboard_keeps_other_settings_and_weights_in_rows_of_their_own(evaluation):
    def summary(suite, **settings):
        made = {"tool_budget": 1, "max_tokens": 512, "weights": "a1", "rows": 8, **settings}
        return summarise(evaluation(0.5, 1, problems=suite, settings=made))

    alike = leaderboard([summary("x"), summary("y", rows=64)])
    assert [row[1] for row in alike.table.rows] == ["avg@4 C=1"]
    mixed = leaderboard([summary("x"), summary("y", max_tokens=3072), summary("x", weights="b2")])
    assert {row[1] for row in mixed.table.rows} == {
        "avg@4 C=1 max_tokens=512 weights=a1",
        "avg@4 C=1 max_tokens=3072 weights=a1",
        "avg@4 C=1 max_tokens=512 weights=b2",
    }
    assert {row[-1] for row in mixed.table.rows} == {"-"}
    assert mixed.warnings == ()


def test_leaderboard_says_what_was_lost_and_what_was_never_said(make, turn):
    def board(*rows):
        return leaderboard([summarise(Records(header(count=2, k=1), rows))]).warnings

    lost = make("p1", 0, False, infra_error="gone", scorable=False)
    assert board(make("p0"), lost) == (
        "m on test: 1 of 2 answers lost, to the machine or undecided",
    )
    silent = [make(name, 0, False, [turn("")]) for name in ("p0", "p1")]
    assert board(*silent) == ("m on test: all 2 answers are empty, so that nothing was measured",)
    assert board(make("p0"), make("p1")) == ()


def test_macro_average_is_the_mean_with_independent_errors(evaluation):
    one = summarise(evaluation(0.5, 1)).accuracy
    average = macro_average({"x": one, "y": one}, ["x", "y"])
    assert average.value == pytest.approx(one.value)
    assert average.high - average.value == pytest.approx((one.high - one.value) / 2**0.5)


def test_summaries_are_found_anywhere_below(make_run, tmp_path):
    make_run(name="a", steps=1)
    assert len(find_summaries([tmp_path])) == 2
    with pytest.raises(RecordError, match=r"expected NAME\.summary\.json"):
        find_summaries([tmp_path / "a" / "transcripts"])


def test_published_averages_are_computed_again():
    by_model = {row.model: row for row in TORL.rows}
    assert by_model["ToRL-7B"].average == pytest.approx(56.08)
    assert by_model["ToRL-7B"].misprinted
    assert not by_model["ToRL-1.5B"].misprinted
    assert {row.model for row in TORL.rows if row.misprinted} == {
        "ToRL-7B",
        "Qwen2.5-Math-1.5B-Instruct-TIR",
        "Eurus-2-7B-PRIME",
    }


def test_published_tables_say_what_they_are():
    sources = (*PAPERS, *EXCERPTS)
    assert len({table.title for table in published()}) == len(sources)
    for table, source in zip(published(), sources, strict=True):
        assert "Published, not run here" in table.title
        assert source.protocol in table.title
        assert source.source in table.title
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert all(len(row.scores) == len(paper.suites) for paper in PAPERS for row in paper.rows)


def test_excerpts_agree_with_the_tables_they_overlap():
    named = {row.model: row for paper in PAPERS[2:] for row in paper.rows}
    ablation = next(part for part in EXCERPTS if "table 3" in part.title)
    for cells, models in ((ablation.rows[0], ("Qwen2.5-Math-7B", "Qwen3-8B")),
                          (ablation.rows[-1], ("THOR-7B", "THOR-Thinking-8B"))):  # fmt: skip
        for cell, model in zip(cells[1:], models, strict=True):
            assert float(cell) == pytest.approx(named[model].average, abs=0.1)
    calls = next(part for part in EXCERPTS if "table 6" in part.title)
    for *_, failed, passed, ratio in calls.rows:
        share = 100 * int(passed) / (int(passed) + int(failed))
        assert float(ratio) == pytest.approx(share, abs=0.25)


@pytest.mark.parametrize("place", [0, 150_000, 299_999])
def test_weights_are_told_apart(tmp_path, place):
    assert weights_hash(tmp_path) == ""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 300_000)
    first = weights_hash(tmp_path)
    # Merged adapters and frozen layers leave the head and the tail of a file as they were.
    file.write_bytes(b"a" * place + b"b" + b"a" * (299_999 - place))
    assert len(first) == 8
    second = weights_hash(tmp_path)
    assert second != first
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert weights_hash(tmp_path) not in (first, second)
