"""`torl watch` in the terminal and over HTTP."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from torl.commands import watch
from torl.commands.watch import LivePage, WatchOptions
from torl.console import guarded
from torl.curves import spark


def look(capsys, path):
    assert guarded(watch.main, WatchOptions(path, once=True)) == 0
    return capsys.readouterr().out


def test_the_state_of_a_run(capsys, run_dir):
    text = look(capsys, run_dir)
    assert "run: rl, 10 of 16 steps, 30.0 s a step, 3:00 left; last written 0:0" in text
    os.utime(run_dir / "metrics.jsonl", (time.time() - 3700,) * 2)
    assert re.search(r"last written 1:0\d:\d\d ago", " ".join(look(capsys, run_dir).split()))
    assert re.search(r"code_ratio .* 1\.000 .* 0\.000 .* ▁▁▂▃▄▄▅▆▇█", text)


def test_a_half_written_line_and_a_run_that_has_not_begun(capsys, run_dir, tmp_path):
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "sta')
    assert "10 of 16" in look(capsys, run_dir)
    assert "waiting for a run" in look(capsys, tmp_path)
    assert "waiting for a run" in look(capsys, tmp_path / "nothing")


def test_spark_has_one_place_for_many_values():
    assert spark([1.0]) == "▁"
    assert spark([0.0, 1.0]) == "▁█"
    assert len(spark([float(i) for i in range(1000)])) <= 48


def test_bad_interval(capsys, run_dir):
    options = WatchOptions(run_dir, every=0, once=True)
    assert guarded(watch.main, options) == 1
    assert "--every: expected more than 0" in capsys.readouterr().err


def head(url):
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=20) as answer:
        return answer.headers["ETag"]


def test_the_page_is_made_anew_only_when_the_run_has_gone_on(run_dir, tmp_path):
    live = LivePage(run_dir, 2)
    first = live.page()
    assert live.page()[1] is first[1]
    (run_dir / "transcripts").mkdir()
    assert live.page()[1] is not first[1]
    assert b"waiting for a run" in LivePage(tmp_path / "nothing", 2).page()[1]


def test_the_page_is_served_until_ctrl_c(run_dir):
    code = (
        "import sys; from pathlib import Path; from torl.commands.watch import *\n"
        "from torl.console import guarded\n"
        "sys.exit(guarded(main, WatchOptions(Path(sys.argv[1]), port=0)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", code, run_dir], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        url = re.search(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())[0]
        with urllib.request.urlopen(url, timeout=20) as answer:
            page = answer.read().decode()
            tag = answer.headers["ETag"]
        assert 'data-refresh="2"' in page
        assert "connect-src 'self'" in page
        assert "(a) Code ratio" in page
        assert head(url) == tag
        with (run_dir / "metrics.jsonl").open("a") as file:
            file.write('{"step": 10, "stage": "rl", "code_ratio": 0.5}\n')
        assert head(url) != tag
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url + "favicon.ico", timeout=20)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err == ""
