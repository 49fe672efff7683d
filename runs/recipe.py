"""What the recipes beside this file share: options of `torl train`, and more from the caller."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CONFIGS = Path(__file__).with_name("configs")


def run(options: Mapping[str, object], usage: str | None, config: str) -> int:
    """Train with these options; words after the output folder override or add.

    With `--dry-run` nothing is launched: the plan is that of one of the processes.

    Args:
        options: Options of `torl train` by name, without dashes.
        usage: Shown when no output folder is given.
        config: Of accelerate, a file in `configs`.
    """
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(usage, file=sys.stderr)
        return 2
    out, *more = sys.argv[1:]
    words = [word for name, value in options.items() for word in (f"--{name}", *_values(value))]
    train = ["-m", "torl", "train", "--out", out, *words, *more]
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / config), *train]
    shown = [word for word in launch[2:] if word != "--dry-run"]
    print("launch      ", "accelerate launch", *shown, flush=True)
    if "--dry-run" in more:
        environment = os.environ | as_launched(CONFIGS / config)
        return subprocess.run([sys.executable, *train], env=environment, check=False).returncode
    return subprocess.run([sys.executable, *launch], check=False).returncode


def needs_traces(name: str, words: Sequence[str]) -> None:
    """End with what is missing where a recipe is started from weights that imitate nothing."""
    given = {word.partition("=")[0] for word in words}
    if given and not given & {"--traces", "--warm-start-from"}:
        sys.exit(
            f"{name} starts from a model that imitates traces: expected --traces FILE (make one "
            "with `torl traces tirgen`) or --warm-start-from WEIGHTS"
        )


def _values(value: object) -> tuple[str, ...]:
    """The words behind an option's name; a switch has none."""
    if value is True:
        return ()
    return value if isinstance(value, tuple) else (str(value),)


def as_launched(config: Path) -> dict[str, str]:
    """What accelerate's launcher would tell the first process of this configuration."""
    from accelerate.commands.config.config_args import load_config_from_file

    settings = load_config_from_file(str(config))
    kind = str(settings.distributed_type.value)
    return {
        "WORLD_SIZE": str(settings.num_processes),
        "RANK": "0",
        "LOCAL_RANK": "0",
        "ACCELERATE_USE_FSDP": str(kind == "FSDP").lower(),
        "ACCELERATE_USE_DEEPSPEED": str(kind == "DEEPSPEED").lower(),
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": str(settings.deepspeed_config.get("zero_stage", "")),
    }


if __name__ == "__main__":
    sys.exit("this is no recipe: run one of the files beside it")
