"""A user's own algorithm, tools, problems, reward and grader, by one call and by one command."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import torl as public
from agents.core.run.transcripts import read_rows
from benchmarks.heldout import records
from torl_env import ConfigError, EnvConfig

SIZES = {"steps": 2, "prompts": 2, "group": 4, "max_tokens": 40, "threads": 1, "save_every": 1}


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import shop

    yield shop
    sys.modules.pop("shop", None)


@pytest.fixture
def files(tmp_path):
    """Problems to train and to be evaluated on."""
    for name, first in (("train", 0), ("test", 50)):
        rows = [
            f"What do {i} loaves of bread and one milk cost?,{3 * i + 2}"
            for i in range(first, first + 8)
        ]
        (tmp_path / f"{name}.csv").write_text("question,answer\n" + "\n".join(rows) + "\n")
    return tmp_path


def settings(run):
    return json.loads((Path(run) / "config.json").read_text())["options"]


def steps(run):
    lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_one_call(tiny, shop, files, capsys):
    run = public.train(
        str(tiny),
        problems=files / "train.csv",
        heldout=files / "test.csv",
        algorithm=shop.Centred(weight=2.0),
        env={
            "tools": [shop.price, shop.stock],
            "parser": "hermes",
            "stateful": True,
            "tool_budget": 3,
            "grader": shop.right,
            "reward": shop.short,
        },
        system="Answer with a number.\n{tools}",
        eval_problems=0,
        out=files / "run",
        **SIZES,
    )
    assert run.finished
    assert steps(run) == [1, 2]
    env = settings(run)["env"]
    assert env["tools"] == ["shop:price", "shop:stock"]
    assert (env["grader"], env["reward"], env["parser"]) == ("shop:right", "shop:short", "hermes")
    row = next(read_rows(files / "run/transcripts/step-000001.jsonl.gz"))
    assert row["reward"] in (0.5, 1.0)
    capsys.readouterr()
    found = run.evaluate(files / "test.csv", k=2, out=files / "eval.jsonl")
    found.table()
    assert "accuracy %" in capsys.readouterr().out
    header = records.read(files / "eval.jsonl").header
    assert (header.count, header.k, header.of) == (8, 2, 8)
    assert header.environment["tools"] == ["shop:price", "shop:stock"]
    assert header.environment["stateful"] is True
    assert header.grader == "shop:right"
    agent = public.load(run)
    answer = agent("What does bread cost?", "3")
    assert answer.question == "What does bread cost?"
    assert answer.verdict in ("correct", "wrong")
    assert len(agent.rollout(files / "test.csv")) == 8


@pytest.mark.long
def test_one_command(tiny, shop, files, torl):
    out = files / "run"
    words = ["--model", tiny, "--problems", files / "train.csv", "--heldout", files / "test.csv"]
    words += ["--algorithm", "shop:Centred", "--set", "weight=2.0", "--eval-problems", "4"]
    words += ["--env.tools", "shop:price", "shop:stock", "--parser", "hermes", "--stateful"]
    words += ["--tool-budget", "3", "--grader", "shop:right", "--reward", "shop:short"]
    words += ["--system", "Answer.\n{tools}", "--out", out]
    for name, value in SIZES.items():
        words += [f"--{name.replace('_', '-')}", value]
    assert torl("train", *words, "--dry-run").code == 0
    assert not out.exists()
    ran = torl("train", *words)
    assert ran.code == 0, ran.err
    assert steps(out) == [1, 2]
    assert records.read(out / "eval/after.jsonl").header.environment["parser"] == "hermes"
    # The environment of the run counts, unless something else is said.
    for name, more in (("as", ()), ("text", ("--tool-budget", "0"))):
        ran = torl("eval", "--model", out, "--out", files / f"{name}.jsonl", *more)
        assert ran.code == 0, ran.err
    headers = [records.read(files / f"{name}.jsonl").header for name in ("as", "text")]
    assert [h.environment["tool_budget"] for h in headers] == [3, 0]
    assert [h.environment["parser"] for h in headers] == ["hermes", "hermes"]
    assert headers[0].problems == str(files / "test.csv")
    ran = torl("compare", files / "as.jsonl", files / "text.jsonl")
    assert ran.code == 0
    assert "the environments differ" in ran.err
    assert "tool_budget 3 against 0" in ran.err


@pytest.mark.long
def test_a_text_environment_that_is_none_of_ours(tiny, shop, tmp_path, torl):
    run = public.train(
        str(tiny), env=shop.Echo(), eval_problems=3, out=tmp_path / "run", prompt="chat", **SIZES
    )
    assert steps(run) == [1, 2]
    before = records.read(tmp_path / "run/eval/before.jsonl")
    assert {t.question[:4] for t in before.trajectories} == {"say "}
    with pytest.raises(Exception, match="give it again, env="):
        public.evaluate(run.path, count=2)
    found = public.evaluate(run.path, env=shop.Echo(), count=2, out=tmp_path / "a.jsonl")
    assert next(iter(found.summaries.values())).answers == 2
    words = ["--model", tiny, "--text-env", "shop:Echo", "--eval-problems", 2]
    words += ["--out", tmp_path / "b"]
    for name, value in SIZES.items():
        words += [f"--{name.replace('_', '-')}", value]
    ran = torl("train", *words)
    assert ran.code == 0, ran.err
    ran = torl("eval", "--model", tmp_path / "b", "--count", 2, "--out", tmp_path / "c.jsonl")
    assert ran.code == 0, ran.err
    assert records.read(tmp_path / "c.jsonl").trajectories[0].question.startswith("say ")


@pytest.mark.long
def test_what_only_python_can_give_is_asked_for_again(tiny, shop, files):
    class Mine(shop.Centred):
        """Has no name that a file could keep."""

    def graded(response, reference):
        return True

    out = files / "run"
    given = {"algorithm": Mine(), "problems": str(files / "train.csv"), "eval_problems": 0}
    public.train(str(tiny), **given, grader=graded, out=out, **SIZES)
    with pytest.raises(Exception, match="an object as algorithm"):
        public.train(out=out, resume=True)
    with pytest.raises(ConfigError, match="grader"):
        public.train(out=out, resume=True, algorithm=Mine())
    run = public.train(out=out, resume=True, algorithm=Mine(), env={"grader": graded})
    assert run.finished
    assert run.options == replace(run.options, resume=True)


WRONG = {
    "no option": ({"problemz": "a.csv"}, "'problemz' is no option. Did you mean problems?"),
    "no environment": ({"env": 3}, "expected a dict of options, an EnvConfig or a Gymnasium"),
    "no algorithm": ({"algorithm": 3}, "expected a subclass of"),
    "budget": ({"tool_budget": -1}, "tool_budget must be at least 0"),
    "tools": ({"env": {"tools": ["nosuch:tool"]}}, "no module 'nosuch'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_leaves_nothing(case, tiny, tmp_path):
    options, message = WRONG[case]
    with pytest.raises(Exception, match=message):
        public.train(str(tiny), **options, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_many_calls_leave_room_for_an_answer():
    from torl.environment import environment

    assert environment(tool_budget=20).max_turns > 20
    assert environment(EnvConfig(), tool_budget=2, max_turns=3).max_turns == 3


def test_importing_costs_nothing_until_something_is_called():
    code = (
        "import sys, torl; print([m for m in ('torch', 'gymnasium', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        public.trian  # noqa: B018


REMOTE = {"algorithm": "thor", "stateful": True, "tool_budget": 2, "reward": "thor"}


def thor(phrases, sandbox, out):
    """Programs run there, some fail, and episodes are branched at those."""
    run = public.train(
        str(phrases),
        problems="procedural:easy:L1",
        sandbox=sandbox,
        warm_start=0,
        eval_problems=2,
        prompt="torl",
        out=out,
        **REMOTE,
        **SIZES | {"prompts": 4, "group": 4},
    )
    assert steps(run) == [1, 2]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(row["tool_calls"] > 0 and row["infra_errors"] == 0 for row in rows)
    assert any(row["branches"] > 0 for row in rows)
    assert settings(run)["env"]["sandbox"] == sandbox
    return run


@pytest.mark.slow
def test_thor_with_branches_on_our_server(phrases, tmp_path):
    from torl_env.sandbox import LocalSandbox
    from torl_env.sandbox.backends.fusion_server import SandboxServer, ServeOptions

    with LocalSandbox() as local, SandboxServer(local, ServeOptions(port=0)) as server:
        thor(phrases, f"fusion:{server.url}", tmp_path / "run")


@pytest.mark.slow
def test_thor_with_branches_on_ray(phrases, tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        thor(phrases, "ray:auto", tmp_path / "run")
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_notebook_shows_a_run_in_one_place(tiny, tmp_path):
    """Progress and curves are one piece of the cell's output, replaced as the run goes on."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    given = {"problems": "procedural:easy:L1", "eval_problems": 0, "out": str(tmp_path / "run")}
    cell = f"import torl\nrun = torl.train({str(tiny)!r}, **{given | SIZES})\nrun.finished"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(book, timeout=900).execute()
    outputs = book.cells[0].outputs
    shown = [one.data["text/html"] for one in outputs if one.output_type == "display_data"]
    assert len([page for page in shown if re.search(r"\b2/2\b", page)]) == 1
    assert [one.data["text/plain"] for one in outputs if one.output_type == "execute_result"] == [
        "True"
    ]
