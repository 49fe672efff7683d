"""Transcripts: what is written is what is read, from all processes, and small."""

import json
import zipfile
from dataclasses import replace
from math import isnan, nan

import pytest
from one_step import BATCH, one_step

from agents.core.run import transcripts
from agents.core.run.folder import Run
from agents.core.run.storage import RecordError, read_lines
from agents.core.types import Trajectory

KEPT = [replace(t, logprobs=[-0.5 * m for m in t.loss_mask], sample=i) for i, t in enumerate(BATCH)]


def as_read(t):
    return Trajectory.from_json(json.loads(json.dumps(t.to_json())))


def test_rows_come_back_in_the_order_of_steps_and_processes(tmp_path):
    for step, rank, rows in ((10, 0, KEPT[:2]), (9, 1, KEPT[2:3]), (9, 0, KEPT[3:5])):
        transcripts.write(tmp_path, step, rank, rows)
    found = list(transcripts.read(tmp_path))
    assert [step for step, _ in found] == [9, 9, 9, 10, 10]
    assert [t for _, t in found] == [as_read(t) for t in (*KEPT[3:5], KEPT[2], *KEPT[:2])]


def test_rows_and_arrays_that_nobody_wants_stay_packed(tmp_path):
    transcripts.write(tmp_path, 4, 0, KEPT)
    found = list(transcripts.read(tmp_path, lambda step, row: step == 4 and row["sample"] == 2))
    assert [t for _, t in found] == [as_read(KEPT[2])]
    bare = [t for _, t in transcripts.read(tmp_path, arrays=("loss_mask",))]
    assert [t.loss_mask for t in bare] == [as_read(t).loss_mask for t in KEPT]
    assert {(len(t.ids), len(t.prompt_ids), len(t.logprobs)) for t in bare} == {(0, 0, 0)}


def test_unknown_log_probabilities_stay_unknown(tmp_path):
    transcripts.write(tmp_path, 1, 0, [replace(BATCH[0], logprobs=[nan] * 5)])
    ((_, found),) = transcripts.read(tmp_path)
    assert all(map(isnan, found.logprobs))


def test_plain_lines_are_read_too(tmp_path):
    (tmp_path / "step-000003.jsonl").write_text(json.dumps(KEPT[0].to_json()) + "\n")
    assert list(transcripts.read(tmp_path)) == [(3, as_read(KEPT[0]))]


def test_the_text_holds_no_ids_and_the_same_step_the_same_bytes(tmp_path):
    for name in "ab":
        transcripts.write(tmp_path / name, 1, 0, KEPT)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    (first, *_) = read_lines(tmp_path / "a" / "step-000001.jsonl.gz")
    assert not first.keys() & {"ids", "prompt_ids", "loss_mask", "logprobs"}


def test_text_without_its_ids_is_said_so(tmp_path):
    transcripts.write(tmp_path, 1, 0, KEPT)
    (tmp_path / "step-000001.ids.npz").unlink()
    with pytest.raises(RecordError, match="has no ids: expected them at"):
        list(transcripts.read(tmp_path))


def test_a_resumed_run_forgets_later_steps(tmp_path):
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.write_transcripts(step, 0, KEPT)
        run.write_transcripts(step, 1, KEPT)
        run.write_branches(step, 0, KEPT)
    run.rewind("sft", 0)
    assert len(transcripts.files(tmp_path / "transcripts")) == 6
    run.rewind("rl", 1)
    assert {step for step, _ in transcripts.files(tmp_path / "transcripts")} == {1}
    assert len(list((tmp_path / "transcripts").iterdir())) == 4
    assert {step for step, _ in transcripts.files(tmp_path / "branches")} == {1}


@pytest.mark.parametrize(("most", "kept"), [(8, 8), (7, 4), (3, 0), (0, 0)])
def test_a_step_keeps_whole_problems_up_to_its_limit(model, tokenizer, tmp_path, most, kept):
    one_step(model, tokenizer, tmp_path, transcripts=most)
    assert len(list(transcripts.read(tmp_path / "transcripts"))) == kept


def test_shares_add_up():
    for most in (0, 8, 24, 2048):
        total = sum(transcripts.share_of(most, 8, rank, 3) for rank in range(3))
        assert total == most // 8


def test_a_step_is_much_smaller_than_its_json(tmp_path):
    """Ids that repeat no pattern, the worst that there is for compression."""
    rows = [
        replace(t, ids=list(range(7, 7 + 3 * 900, 3)), loss_mask=[1] * 900, logprobs=[-0.25] * 900)
        for t in KEPT
    ]
    transcripts.write(tmp_path, 1, 0, rows)
    written = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert written < sum(len(json.dumps(t.to_json())) for t in rows) / 4
    assert zipfile.is_zipfile(tmp_path / "step-000001.ids.npz")
