"""OpenEnv: its generic client, over its WebSocket sessions, against our server."""

import subprocess
import sys
from importlib.metadata import version
from typing import Any

from benchmarks.stacks.result import Result, report
from torl_env import ToRLMathEnv
from torl_env.adapters.openenv import OpenEnvServer, ServerOptions
from torl_env.problems import Listed, Problem

PROBLEMS = Listed("one", [Problem("p", "What is 6*7?", "42")])
EPISODES = 3


def played(url: str) -> list[float]:
    """Rewards of a few episodes through OpenEnv's own client."""
    from openenv.core.generic_client import GenericEnvClient

    rewards: list[float] = []
    with GenericEnvClient(base_url=url).sync() as client:
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


def main() -> None:
    """Serve, play, and let OpenEnv's validator look at the running server."""
    with OpenEnvServer(lambda: ToRLMathEnv(PROBLEMS), ServerOptions(port=0)) as server:
        assert played(server.url) == [1.0] * EPISODES
        done = subprocess.run(
            [sys.executable, "-m", "openenv.cli", "validate", "--url", server.url],
            capture_output=True,
            text=True,
            check=False,
        )
    passed, failed = done.stdout.count(" PASS "), done.stdout.count(" FAIL ")
    print(done.stdout)
    assert passed, done.stderr
    report(
        Result(
            stack="OpenEnv",
            version=version("openenv"),
            ran="its generic client over WebSocket sessions; its validator on the running server "
            f"({passed} checks of {passed + failed} pass)",
            episodes=EPISODES,
            not_run="its image build (no Docker here)",
        )
    )


if __name__ == "__main__":
    main()
