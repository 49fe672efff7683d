"""Trackers get each batch: TRL's numbers and ToRL's behaviour metrics."""

import pytest
from one_step import trainer_of


def test_tensorboard_reads_behaviour_metrics(model, tokenizer, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs tensorboard (pip install tensorboard)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer_of(model, tokenizer, tmp_path, report_to=("tensorboard",)).train()
    (file,) = (tmp_path / "board").rglob("events.*")
    board = EventAccumulator(str(file))
    board.Reload()
    tags = set(board.Tags()["scalars"])
    assert {"train/loss", "train/torl/accuracy", "train/torl/code_ratio"} <= tags
    assert [event.step for event in board.Scalars("train/torl/accuracy")] == [1]
    # No program ran, and a share of nothing is no number.
    assert "train/torl/pass_ratio" not in tags


def test_no_tracker_is_told_unless_asked_for(model, tokenizer, tmp_path):
    trainer = trainer_of(model, tokenizer, tmp_path)
    trainer.train()
    assert trainer.args.report_to == []
    assert not any(name.startswith("torl/") for row in trainer.state.log_history for name in row)
