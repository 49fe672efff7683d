"""OpenEnv: its generic client, over its WebSocket sessions, against our server and its package."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, report
from torl_env import ToRLMathEnv
from torl_env.adapters.openenv import OpenEnvServer, ServerOptions
from torl_env.problems import Listed, Problem

PROBLEMS = Listed("one", [Problem("p", "What is 6*7?", "42")])
EPISODES = 3
PACKAGE = Path(__file__).resolve().parents[2] / "examples" / "openenv"
TOKEN = "a secret of this check"


def played(url: str, token: str = "") -> list[float]:
    """Rewards of a few episodes through OpenEnv's own client."""
    from openenv.core.generic_client import GenericEnvClient

    rewards: list[float] = []
    headers = {"Authorization": f"Bearer {token}"} if token else None
    with GenericEnvClient(base_url=url, headers=headers).sync() as client:
        for episode in range(EPISODES):
            first: Any = client.reset(seed=episode)
            assert "6*7" in str(first.observation), first
            seen: Any = client.step({"text": "```python\nprint(6*7)\n```", "cut": False})
            assert "42" in str(seen.observation), seen
            assert not seen.done
            seen = client.step({"text": "It is \\boxed{42}.", "cut": False})
            assert seen.done
            rewards.append(seen.reward)
    return rewards


@contextmanager
def packaged() -> Iterator[str]:
    """The package's server as its container starts it; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = PACKAGE / "server" / "app.py"
    settings = {"TORL_TOKEN": TOKEN, "TORL_HOST": "0.0.0.0", "TORL_PORT": str(port)}
    problems = {"TORL_ENV": '{"problems": "benchmarks.stacks.run_openenv:PROBLEMS"}'}
    with subprocess.Popen(
        [sys.executable, str(file)], env=os.environ | settings | problems
    ) as server:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def validated(*words: str) -> tuple[int, int]:
    """Checks of OpenEnv's validator that pass, and that fail."""
    done = subprocess.run(
        [sys.executable, "-m", "openenv.cli", "validate", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert " PASS " in done.stdout, done.stderr
    return done.stdout.count(" PASS "), done.stdout.count(" FAIL ")


def faults() -> list[Any]:
    """The last step of an episode whose machine dies, and of one with an undecided grade."""
    from openenv.core.generic_client import GenericEnvClient

    undecided = Listed("one", [Problem("q", "?", "\\frac{")])
    ends: list[Any] = []
    cases: list[tuple[Listed, dict[str, Any]]] = [(PROBLEMS, {"sandbox": DYING}), (undecided, {})]
    for problems, options in cases:
        make = partial(ToRLMathEnv, problems, **options)
        with (
            OpenEnvServer(make, ServerOptions(port=0)) as server,
            GenericEnvClient(base_url=server.url).sync() as client,
        ):
            client.reset(seed=0)
            text = "```python\nprint(6*7)\n```" if options else "It is \\boxed{42}."
            ends.append(client.step({"text": text, "cut": False}))
    return ends


def main() -> None:
    """Serve, play, and let OpenEnv's validator look at the running server and the package."""
    with OpenEnvServer(lambda: ToRLMathEnv(PROBLEMS), ServerOptions(port=0)) as server:
        assert played(server.url) == [1.0] * EPISODES
        passed, failed = validated("--url", server.url)
    assert validated(str(PACKAGE), "--level", "static", "--skip-build")[1] == 0
    with packaged() as url:
        assert played(url, TOKEN) == [1.0] * EPISODES
    for end in faults():
        assert end.done
        assert end.reward is None, end
    report(
        Result(
            version=version("openenv"),
            ran="its generic client over WebSocket sessions, on the package's server too; its "
            f"validator on the running server ({passed} checks of {passed + failed} pass) and on "
            "the package",
            episodes=2 * EPISODES,
            fault="the reward is `null`",
            not_run="the image: no Docker daemon here",
        )
    )


if __name__ == "__main__":
    main()
