"""Evaluation: fixed order, resumption, records, refusals."""

import json

import pytest

from agents.core.rollout.behaviour import behaviour
from agents.core.run import storage
from agents.core.run.provenance import commit
from agents.core.run.storage import RecordError
from agents.core.types import Trajectory
from benchmarks.heldout import Header, Summary, fingerprint, records, summary_path
from benchmarks.heldout.evaluate import evaluate
from benchmarks.heldout.summary import per_problem, summarise


def header_for(problems, k=4, **changes):
    values = {
        "model": "test-model",
        "problems": "test",
        "fingerprint": fingerprint(problems),
        "count": len(problems),
        "k": k,
        "seed": 7,
        "grader": "torl 1",
        "settings": {"temperature": 1.0, "tool_budget": 1},
        "versions": records.versions(),
        "commit": "abc",
    }
    return Header(**(values | changes))


def test_records_are_sorted_complete_and_read_back(tmp_path, problems, collect):
    out, header = tmp_path / "after.jsonl", header_for(problems)
    moved = []
    summary = evaluate(collect, problems, header, out, moved.append)
    found = records.read(out)
    assert found.complete
    assert found.header == header
    assert sum(moved) == 40
    assert [(t.problem_id, t.sample) for t in found.trajectories] == [
        (p.id, sample) for p in problems for sample in range(4)
    ]
    stored = Summary.from_json(storage.read_json(summary_path(out)))
    assert stored.accuracy == summary.accuracy
    assert stored.by_level == summary.by_level
    assert stored.pass_at == summary.pass_at
    assert (
        list(tmp_path.iterdir()) == [out, summary_path(out)] or len(list(tmp_path.iterdir())) == 2
    )


@pytest.mark.parametrize("cut", [0, 1, 5, 17, 39])
@pytest.mark.parametrize("torn", [b"", b'{"problem_id": "p', b"\xff\x00"])
def test_a_cut_off_run_ends_with_the_same_bytes(tmp_path, problems, collect, cut, torn):
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    header = header_for(problems)
    evaluate(collect, problems, header, whole, in_flight=8)

    class Killed(BaseException):
        pass

    asked = 0

    def dying(problems, k, seed):
        nonlocal asked
        for trajectory in collect(problems, k, seed):
            if asked == cut:
                raise Killed
            asked += 1
            yield trajectory

    with pytest.raises(Killed):
        evaluate(dying, problems, header, broken, in_flight=8)
    assert not summary_path(broken).exists()
    with broken.open("ab") as file:
        file.write(torn)
    moved = []
    evaluate(collect, problems, header, broken, moved.append, in_flight=8)
    assert sum(moved) == 40 - cut
    assert broken.read_bytes() == whole.read_bytes()
    assert summary_path(broken).read_bytes() == summary_path(whole).read_bytes()


def test_a_finished_run_asks_for_nothing(tmp_path, problems, collect):
    out, header = tmp_path / "a.jsonl", header_for(problems)
    first = evaluate(collect, problems, header, out)

    def refuse(*_):
        raise AssertionError("asked for answers that are on record")

    assert evaluate(refuse, problems, header, out).accuracy == first.accuracy


def test_what_made_the_answers_stays_on_record(tmp_path, problems, collect):
    out, old = tmp_path / "a.jsonl", header_for(problems, versions={"torch": "1", "trl": "3"})
    evaluate(collect, problems, old, out)
    before = out.read_bytes()
    new = header_for(problems, versions={"torch": "2", "trl": "3", "vllm": "9"}, commit="def")
    evaluate(collect, problems, new, out)
    assert out.read_bytes() == before
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:-1]))
    assert evaluate(collect, problems, new, out).header.commit == "abc, def"
    assert records.read(out).header.versions == {"torch": "1, 2", "trl": "3", "vllm": "9"}
    # A third time says it once.
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:-1]))
    assert evaluate(collect, problems, new, out).header.commit == "abc, def"


def test_two_processes_do_not_write_the_same_records(tmp_path, problems, collect):
    out, header, met = tmp_path / "a.jsonl", header_for(problems), []

    def while_another_comes(*asked):
        for trajectory in collect(*asked):
            with pytest.raises(RecordError, match="being written by another process"):
                evaluate(collect, problems, header, out)
            met.append(trajectory)
            yield trajectory

    evaluate(while_another_comes, problems, header, out)
    assert len(met) == 40
    assert records.read(out).complete


def test_other_settings_are_refused_and_named(tmp_path, problems, collect):
    out = tmp_path / "a.jsonl"
    evaluate(collect, problems, header_for(problems), out)
    before = out.read_bytes()
    with pytest.raises(RecordError, match=r"k: 4 against 8; seed: 7 against 8.*choose another"):
        evaluate(collect, problems, header_for(problems, k=8, seed=8), out)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda found: found[:-1], "left out 1 answers"),
        (lambda found: [*found, found[0]], "twice"),
        (
            lambda found: [*found, Trajectory.from_json(found[0].to_json() | {"sample": 99})],
            "asked",
        ),
    ],
)
def test_a_collector_that_breaks_its_promise(tmp_path, problems, collect, break_it, message):
    with pytest.raises(RecordError, match=message):
        evaluate(
            lambda *args: break_it(list(collect(*args))),
            problems,
            header_for(problems),
            tmp_path / "a.jsonl",
        )


def test_no_problems_and_equal_ids_are_refused_before_anything_is_written(
    tmp_path, problems, collect
):
    with pytest.raises(RecordError, match="holds no problems"):
        evaluate(collect, [], header_for([]), tmp_path / "a.jsonl")
    with pytest.raises(RecordError, match="not unique"):
        evaluate(collect, problems[:1] * 2, header_for(problems), tmp_path / "a.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header line"),
        ('{"problem_id": "p"}\n', "no header line"),
        ('{"header": {"model": "m"}}\n', "not a header"),
        ("nonsense\n{}\n", "line 1 is not JSON"),
        ("[1]\n", "expected a JSON object"),
    ],
)
def test_files_that_are_no_records(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        records.read(path)


def test_a_record_that_appears_twice_is_refused(tmp_path, problems, collect):
    out = tmp_path / "a.jsonl"
    evaluate(collect, problems, header_for(problems), out)
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join([*lines, lines[1]]))
    with pytest.raises(RecordError, match="twice"):
        records.read(out)


def test_summary_agrees_with_the_behaviour_metrics_of_training(tmp_path, problems, collect):
    trajectories = tuple(collect(problems, 8, 1))
    found = summarise(records.Records(header_for(problems, k=8), trajectories))
    expected = behaviour(trajectories)
    assert found.unscorable == expected.infra_errors > 0
    for name in (
        "pass_ratio",
        "pass_ratio_correct",
        "pass_ratio_wrong",
        "executed_ratio",
        "success_ratio",
        "before_answer_ratio",
    ):
        assert getattr(found, name).value == pytest.approx(getattr(expected, name)), name
    # Averages weigh problems equally, batch metrics weigh answers equally.
    assert found.accuracy.value == pytest.approx(expected.accuracy, abs=0.03)
    assert found.code_ratio.value == pytest.approx(expected.code_ratio, abs=0.03)


def test_summary_of_a_hand_counted_batch(make, problems):
    trajectories = (
        make("p0", 0, True),
        make("p0", 1, False),
        make("p1", 0, True),
        make("p1", 1, False, scorable=False),
        make("p2", 0, False),
        make("p2", 1, False),
    )
    found = summarise(records.Records(header_for(problems[:3], k=2), trajectories))
    assert found.accuracy.value == 0.5
    assert found.unscorable == 1
    # Of p0 and p2, the one that is never right too; p1 has a single answer that counts.
    assert found.pass_at[2].value == 0.5
    assert found.pass_at[2].count == 2
    assert found.pass_at[1].value == 0.5
    assert found.majority_at[2].value == 0.25
    assert found.verdicts == {"correct": 2, "wrong": 4}
    assert per_problem(trajectories) == {"p0": 0.5, "p1": 1.0, "p2": 0.0}


def test_levels_are_in_the_order_of_numbers(make, problems):
    trajectories = [make(f"p{i}", level=f"Level {i}") for i in (10, 9, 2)]
    found = summarise(records.Records(header_for(problems[:3], k=1), tuple(trajectories)))
    assert list(found.by_level) == ["Level 2", "Level 9", "Level 10"]


def test_fingerprints_tell_problem_sets_apart(problems):
    assert fingerprint(problems) == fingerprint(list(problems))
    assert fingerprint(problems) != fingerprint(problems[::-1])
    assert fingerprint(problems) != fingerprint(problems[:-1])


def test_commit_names_this_checkout():
    assert commit() == "" or len(commit().rstrip("+")) == 12


def test_nothing_half_written_when_the_disk_is_full(tmp_path):
    path = tmp_path / "a.json"
    storage.write_json(path, {"a": 1})
    before = path.read_bytes()

    def fill_the_disk():
        with storage.replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill_the_disk()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan(tmp_path):
    path = tmp_path / "a.json"
    storage.write_json(path, {"a": [float("nan"), float("inf"), 1.5], "b": {"c": float("-inf")}})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "a": [None, None, 1.5],
        "b": {"c": None},
    }


def test_text_that_is_no_unicode_survives_a_line():
    assert json.loads(storage.dump_line({"a": "\ud800 \u2028\n"})) == {"a": "\ud800 \u2028\n"}
