"""A baseline's own Python interface behind lines of JSON: `python sandbox_peer.py gem|sandlock`."""

# mypy: disable-error-code="import-not-found"
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Run = Callable[[str, float], str]


def gem() -> Run:
    """GEM's Python tool runs a process for each program, in whole seconds."""
    from gem.utils.sandbox import run_python

    return lambda code, seconds: str(run_python(code, "none", timeout=int(seconds))[1])


def sandlock() -> Run:
    """Landlock and seccomp around a process for each program."""
    from sandlock import Sandbox

    places = ["/usr", "/lib", "/lib64", "/dev", "/proc", "/etc", sys.base_prefix, sys.prefix]

    def run(code: str, seconds: float) -> str:
        box = Sandbox(fs_readable=[*places, *sys.argv[3:]])
        result = box.run([sys.argv[2], "-c", code], timeout=seconds)
        out = result.stdout
        return out.decode() if isinstance(out, bytes) else str(out or "")

    return run


def main() -> None:
    """Answer every line with one, in the order of their ends."""
    run = {"gem": gem, "sandlock": sandlock}[sys.argv[1]]()
    lock = threading.Lock()

    def answer(line: str) -> None:
        number, code, seconds = json.loads(line)
        try:
            text = run(code, seconds)
        except Exception as error:  # noqa: BLE001 - its failure is a wrong output
            text = f"failed: {error!r}"
        with lock:
            print(json.dumps([number, text]), flush=True)

    with ThreadPoolExecutor(64) as pool:
        for line in sys.stdin:
            pool.submit(answer, line)


if __name__ == "__main__":
    main()
