"""SkyRL-gym's Python tool in its text environment, stepped by 16 threads as its trainer does."""

# mypy: disable-error-code="import-not-found,misc"
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv
from skyrl_gym.tools.python import PythonCodeExecutorToolGroup
from timing import seconds

WORKERS = 16


class PythonEnv(BaseTextEnv):
    """The least that its base class asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.init_tool_groups([PythonCodeExecutorToolGroup()])

    def step(self, action: str) -> dict[str, Any]:
        """Run the block of the action."""
        code = action.split("```python\n")[1].split("\n```")[0]
        shown = self._execute_tool("PythonCodeExecutorToolGroup", "python", [code])
        messages = [{"role": "user", "content": shown}]
        return {"observations": messages, "reward": 0.0, "done": False, "metadata": {}}


def main() -> None:
    """Print figures as JSON."""
    programs = json.loads(sys.argv[1])
    figures = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        for name, program in programs.items():
            action = f"I compute.\n```python\n{program}\n```"
            rounds, count = (20, 64) if name == "print" else (4, 16)
            envs = [PythonEnv() for _ in range(count)]
            one = seconds(lambda: envs[0].step(action), rounds)  # noqa: B023
            figures[f"SkyRL-gym, scalar, {name}: steps/s"] = 1 / one
            many = seconds(lambda: list(pool.map(lambda env: env.step(action), envs)), 2)  # noqa: B023
            figures[f"SkyRL-gym, {count} envs, {name}: steps/s"] = count / many
    print(json.dumps(figures))


main()
