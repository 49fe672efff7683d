"""What the recipes beside this file share: options of `torl train`, and more from the caller."""

import subprocess
import sys
from collections.abc import Mapping


def run(options: Mapping[str, object], usage: str | None) -> int:
    """Train with these options; words after the output folder override or add.

    Args:
        options: Options of `torl train` by name, without dashes.
        usage: Shown when no output folder is given.
    """
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(usage, file=sys.stderr)
        return 2
    out, *more = sys.argv[1:]
    words = [
        word
        for name, value in options.items()
        for word in (f"--{name}", *(value if isinstance(value, tuple) else (str(value),)))
    ]
    command = [sys.executable, "-m", "torl", "train", "--out", out, *words, *more]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit("this is no recipe: run one of the files beside it")
