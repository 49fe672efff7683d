"""Version, suggestions, completion, exit codes, the doctor; and every command that a page shows."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rewards
from torl.__main__ import COMMANDS, main, parse
from torl.commands import doctor
from torl.commands.completion import words_of
from torl.console import ExitCode, guarded

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_version_is_the_one_of_the_project(capsys):
    assert main(["--version"]) == 0
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out == f"torl {stated}\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["evla"], 2, "unknown command 'evla'. Did you mean eval?"),
        (["eval", "--suite", "mth500"], 1, "Did you mean math500?"),
        (["train", "--algorithm", "grop", "--dry-run"], 1, "Did you mean grpo"),
        (["play", "--problems", "procedural:esy"], 1, "Did you mean easy?"),
        (["play", "--problems", "procedral:easy"], 1, "Did you mean procedural:easy"),
        (["play", "--sandbox", "locl"], 1, "Did you mean local?"),
        (["report"], 1, "expected at least one run directory"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(words, code, message, capsys):
    assert main(words) == code
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--alogrithm", "ppo"], "--algorithm"),
        (["play", "--reward", "trol"], "Did you mean torl?"),
        (["play", "--parser", "fencd"], "Did you mean fenced?"),
    ],
)
def test_a_wrong_option_is_a_wrong_use(words, message, capfd):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == ExitCode.USAGE
    assert message in re.sub(r"[│\s]+", " ", capfd.readouterr().err)


def test_choices_are_written_as_in_python():
    assert parse("play", ["--over-budget", "notice"]).env.over_budget == "notice"
    assert parse("analyse", ["a.jsonl", "--case", "fixed_error"]).case == "fixed_error"


def test_what_is_decided_where_nobody_says_is_a_switch():
    words = ["--overlap", "--no-activation-checkpointing"]
    given, left = parse("train", words), parse("train", [])
    assert (given.overlap, given.activation_checkpointing) == (True, False)
    assert (left.overlap, left.activation_checkpointing) == (None, None)


def test_the_table_of_exit_codes_is_the_one_of_the_code():
    page = (ROOT / "docs" / "command_line.md").read_text().split("## Exit codes")[1]
    table = re.findall(r"^\| (\d+) \|", page.split("\n## ")[0], re.MULTILINE)
    assert [int(code) for code in table] == [int(code) for code in ExitCode]


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [
        ("transformers.models", "this needs transformers: pip install 'torl-gym[train]'"),
        ("uvicorn", "this needs uvicorn: pip install 'torl-gym[serve]'"),
    ],
)
def test_a_package_of_an_extra_is_named_and_one_of_nobody_is_a_defect(missing, wanted, capsys):
    def command(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert guarded(command, missing) == ExitCode.USAGE
    assert capsys.readouterr().err == f"torl: error: {wanted}\n"
    with pytest.raises(ModuleNotFoundError):
        guarded(command, "mine")


def test_a_program_passes_its_exit_code_on(tmp_path):
    program = tmp_path / "p.py"
    for code, ends in (("import sys; sys.exit(7)", 7), ("while True: pass", 124)):
        program.write_text(code)
        assert main(["sandbox", "run", str(program), "--cpu-seconds", "0.2"]) == ends


@pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux")
@pytest.mark.parametrize("layer", ["cgroup", "user"])
def test_the_check_fails_where_it_prints_that_a_layer_is_missing(layer, capsys):
    assert main(["sandbox", "check", "--off", layer]) == 1
    assert f"MISSING {layer}" in capsys.readouterr().out


def test_nothing_is_coloured_in_a_pipe(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    done = subprocess.run(
        [sys.executable, "-m", "torl", "sandbox", "chekc"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert "check" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def commands():
    """Each `torl` command in a shell block of a page."""
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                found = re.match(r"^(?:\S+=\S+ )*torl (.*)$", line)
                if found and "|" not in line and "..." not in line:
                    yield page.name, shlex.split(found[1].split(" > ")[0], comments=True)


def test_every_command_of_a_page_is_one(capfd):
    """Its words are read as they would be; nothing runs."""
    seen = 0
    for page, (name, *words) in commands():
        if name.startswith("--"):
            continue
        seen += 1
        try:
            assert parse(name, words) is not None
        except SystemExit:
            message = capfd.readouterr().err
            # A list of commands names one without its words.
            if words or "Missing subcommand" not in message:
                pytest.fail(f"{page}: torl {name} {' '.join(words)}: {message}")
    assert seen > 25


def test_completion_in_a_real_bash(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "torl"
    script.write_text(capsys.readouterr().out)

    def complete(*words):
        line = " ".join(shlex.quote(word) for word in ("torl", *words))
        code = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _torl"
        code += '; echo "${COMPREPLY[@]}"'
        return subprocess.check_output(["bash", "-c", code], text=True).split()

    assert complete("tr") == ["train", "traces"]
    assert complete("sandbox", "s") == ["serve"]
    assert set(complete("train", "--tool")) == {"--tools", "--tool-budget"}
    assert complete("--v") == ["--version"]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_completed_is_an_option(name, capsys):
    with pytest.raises(SystemExit):
        parse(name, ["--help"])
    shown = capsys.readouterr().out
    for word in words_of(name):
        # Those of a word of a command are in the help of that word.
        if word.startswith("--") and "subcommands" not in shown and "." not in word:
            long = f"--env.{word[2:]}"
            assert word in shown or long in shown, f"{name}: {word}"


def test_the_doctor_says_what_is_here(capsys):
    assert main(["doctor", "--json", "--seconds", "0"]) == ExitCode.OK
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["sandbox"]["state"] in ("ok", "weak")
    assert found["grader"]["detail"] == "works"
    assert found["Python"]["detail"].startswith(sys.version.split()[0])


def test_the_doctor_fails_where_the_grader_does(monkeypatch, capsys):
    wrong = rewards.Grade(rewards.Verdict.WRONG, "", "broken", "")
    monkeypatch.setattr(rewards, "grade", lambda *_: wrong)
    assert main(["doctor", "--seconds", "0"]) == ExitCode.FAILED
    assert "grader fails" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_the_doctor_measures():
    found = {one.what: one for one in doctor.checks(doctor.DoctorOptions(seconds=0.02))}
    rates = re.findall(r"(\d+) \w+", found["programs"].detail)
    assert len(rates) == 2
    assert all(int(rate) > 0 for rate in rates)
