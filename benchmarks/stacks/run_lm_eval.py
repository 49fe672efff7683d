"""lm-evaluation-harness: the task of docs/stacks.md, as it stands there, through its evaluator."""

import json
import re
import tempfile
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.stacks.result import Result, report

DOCS = [
    {"question": "1/2?", "answer": "0.5"},
    {"question": "6*7?", "answer": "42"},
    {"question": "?", "answer": "\\frac{"},
]
SAID = ["So \\boxed{\\frac{1}{2}}.", "So \\boxed{41}.", "So \\boxed{1}."]


def written(folder: Path) -> None:
    """The page's task, its module and problems."""
    page = (Path(__file__).parents[2] / "docs" / "stacks.md").read_text()
    (task,) = re.findall(r"```yaml\n(task: torl_math\n.*?)```", page, re.DOTALL)
    (line,) = re.findall(r"`(from rewards\.adapters import .* as process_results)`", page)
    (folder / "torl_math.yaml").write_text(task)
    (folder / "utils.py").write_text(f"{line}\n")
    (folder / "problems.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in DOCS))


def main() -> None:
    """Right by value, wrong, and undecided, which counts in no mean."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Scripted(LM):  # type: ignore[misc]
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return [SAID[one.doc_id] for one in requests]

        def loglikelihood(self, requests: Any) -> list[Any]:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: Any) -> list[Any]:
            raise NotImplementedError

    with tempfile.TemporaryDirectory() as name, chdir(name):
        written(Path(name))
        tasks = TaskManager(include_path=name)
        found = simple_evaluate(
            model=Scripted(), tasks=["torl_math"], task_manager=tasks, bootstrap_iters=0
        )
    means = found["results"]["torl_math"]
    assert means["acc,none"] == 0.5, means
    assert abs(means["ungradable,none"] - 1 / 3) < 1e-9, means
    report(
        Result(
            version=version("lm-eval"),
            ran="the task below, with the grader as its process_results, through simple_evaluate",
            episodes=len(DOCS),
            fault="it runs no program; an undecided grade is in no mean, and counted",
            not_run="tools: the harness asks for one text a problem",
        )
    )


if __name__ == "__main__":
    main()
