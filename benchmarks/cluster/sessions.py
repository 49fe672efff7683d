"""Driver of the rehearsal with Ray: live sessions on two hosts, of which one is killed.

    python -m benchmarks.cluster.sessions ADDRESS FILE

Prints `ready` when the sessions live, waits until FILE is there, by which time one host is dead,
and prints what became of them.
"""

import json
import sys
import time
from pathlib import Path

from torl_env.errors import SandboxError
from torl_env.sandbox import Limits
from torl_env.sandbox.backends.ray import RaySandbox, RaySession

SESSIONS = 4
PROGRAMS = 8


def main(address: str, killed: Path) -> None:
    """Open, wait, look."""
    import ray

    ray.init(address=address, log_to_driver=False)
    with RaySandbox(Limits(cpu_seconds=20, wall_seconds=120)) as sandbox:
        assert len(sandbox.refresh()) == 2
        sessions = [sandbox.session() for _ in range(SESSIONS)]
        draw = "import os\nx = os.urandom(8).hex()\nprint(x)"
        drawn = [session.run(draw).stdout for session in sessions]
        slow = "import time; time.sleep(8); print('ok')"
        flying = [sandbox.submit(slow) for _ in range(PROGRAMS)]
        print("ready", flush=True)
        while not killed.exists():
            time.sleep(0.05)
        began = time.monotonic()
        ends = [_end(session, value) for session, value in zip(sessions, drawn, strict=True)]
        report = {
            **{end: ends.count(end) for end in ("kept", "lost", "wrong")},
            "programs": sum(call.result(120).stdout == "ok\n" for call in flying),
            "fresh": sandbox.session().run("print(2)").stdout == "2\n",
            "seconds": round(time.monotonic() - began, 1),
        }
    print(json.dumps(report), flush=True)


def _end(session: RaySession, value: str) -> str:
    try:
        return "kept" if session.run("print(x)").stdout == value else "wrong"
    except SandboxError:
        return "lost"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
