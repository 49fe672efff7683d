"""prime-rl: our configuration by its own classes, which need no GPU, with our taskset inside.

Takes a checkout of prime-rl, which is on no registry.
"""

import sys
import tomllib
from pathlib import Path

from benchmarks.stacks.result import Result, commit_of, report

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "runs" / "configs" / "prime_rl" / "torl_math.toml"


def refused(path: Path) -> bool:
    """Whether prime-rl's loader refuses the recipe once a key of our taskset is misspelt."""
    from prime_rl.configs.rl import RLConfig
    from prime_rl.utils.config import cli
    from pydantic_config import ConfigFileError

    wrong = path / "wrong.toml"
    wrong.write_text(RECIPE.read_text().replace("tool_budget", "tool_budgets"))
    try:
        cli(RLConfig, args=["@", str(wrong)])
    except ConfigFileError as error:
        return "tool_budgets" in str(error) or "tool-budgets" in str(error)
    return False


def main(checkout: str) -> None:
    """Load, look, and see a misspelt key refused."""
    import tempfile

    sys.path[:0] = [
        str(Path(checkout) / "packages" / "prime-rl-configs" / "src"),
        str(ROOT / "examples" / "torl_math"),
    ]
    from prime_rl.configs.rl import RLConfig
    from prime_rl.utils.config import cli
    from torl_math import load_environment

    whole = cli(RLConfig, args=["@", str(RECIPE)])
    (source,) = whole.orchestrator.train.source
    taskset = source.env.taskset
    assert type(taskset).__name__ == "ToRLTasksetConfig"
    assert (taskset.problems, taskset.task.python.tool_budget) == ("torl", 1)
    assert whole.orchestrator.group_size == 16
    with tempfile.TemporaryDirectory() as name:
        assert refused(Path(name)), "a misspelt option of ours went unnoticed"
    tasks = list(load_environment(problems="procedural:easy", count=3).taskset.load())
    assert len(tasks) == 3
    project = tomllib.loads((Path(checkout) / "pyproject.toml").read_text())["project"]
    report(
        Result(
            version=f"{project['version']} ({commit_of(Path(checkout))})",
            ran="RLConfig of its configs package on runs/configs/prime_rl, our taskset in it",
            fault="as verifiers: its taskset",
            not_run="its orchestrator, trainer and inference: Python 3.12, vLLM and GPUs",
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
