import json

import pytest

from agents.core.run.folder import COMPLETE, Run, RunError, latest_checkpoint


def test_rewind_forgets_what_a_resumed_run_will_write_again(tmp_path):
    run = Run(tmp_path)
    for step in (1, 2):
        run.add_metrics(step, "sft", {"loss": 1.0})
    for step in (1, 2, 3):
        run.add_metrics(step, "rl", {"reward": float("nan")})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "sta')
    run.rewind("rl", 1)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["step"]) for row in rows] == [("sft", 1), ("sft", 2), ("rl", 1)]
    assert rows[2]["reward"] is None


def test_half_a_checkpoint_is_no_checkpoint(tmp_path):
    for step in (4, 8, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert latest_checkpoint(tmp_path) is None
    for step in (4, 8):
        (tmp_path / f"checkpoint-{step}" / COMPLETE).touch()
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-8"


def test_half_a_checkpoint_does_not_stay_in_a_run_that_goes_on(tmp_path):
    """Of the two that the trainer keeps it would be one, and the last whole one go too early."""
    for step in (4, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-4" / COMPLETE).touch()
    (tmp_path / "checkpoint-6" / "model.safetensors").touch()
    Run(tmp_path).rewind("rl", 4)
    assert [folder.name for folder in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]


def test_what_a_user_has_put_beside_checkpoints_stays(tmp_path):
    (tmp_path / "checkpoint-8.tar").touch()
    for name in ("checkpoint-best", "checkpoint-6"):
        (tmp_path / name).mkdir()
        (tmp_path / name / COMPLETE).touch()
    (tmp_path / "checkpoint-mine").mkdir()
    Run(tmp_path).rewind("rl", 6)
    assert len(list(tmp_path.iterdir())) == 4
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-6"


def test_a_folder_without_config_is_no_run(tmp_path):
    with pytest.raises(RunError, match="expected a config"):
        Run(tmp_path).read_config()


def test_times_keep_the_number_of_their_step(tmp_path):
    run = Run(tmp_path)
    run.add_timing(7, "rl", {"rollout": 1.23456, "seconds": 2.0})
    assert json.loads((tmp_path / "timing.jsonl").read_text()) == {
        "step": 7,
        "stage": "rl",
        "rollout": 1.235,
        "seconds": 2.0,
    }
    with pytest.raises(ValueError, match="step"):
        run.add_timing(7, "rl", {"step": 2.0})


def test_solve_rates_are_what_limr_reads(tmp_path):
    from one_step import trajectory

    from torl_env.problems import read_solve_rates

    def batch(*rewards):
        return [trajectory((1,), (2,), (1,), r, scorable=r is not None) for r in rewards]

    run = Run(tmp_path)
    run.add_solve_rates(1, {}, batch(1.0, -1.0, -1.0, -1.0))
    run.add_solve_rates(2, {"p": 1}, batch(1.0, 1.0, -1.0))
    assert read_solve_rates(tmp_path / "solve-rates.jsonl") == {"p": [0.25, 2 / 3]}
