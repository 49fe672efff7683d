"""`torl train --report-to`: trackers that are not there are refused at once."""


def test_a_tracker_that_is_not_there_is_refused(refused, tmp_path):
    message = refused("train", "--out", tmp_path / "run", "--report-to", "nosuchtracker")
    assert "--report-to nosuchtracker: transformers finds" in message
    assert "pip install nosuchtracker" in message
    assert not (tmp_path / "run").exists()
