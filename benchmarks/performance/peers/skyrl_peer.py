"""SkyRL-gym's Python tool in its text environment, stepped by 16 threads as its trainer does."""

# mypy: disable-error-code="import-not-found,misc"
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv
from skyrl_gym.tools.python import PythonCodeExecutorToolGroup
from timing import Work, report

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


def opened(count: int) -> tuple[Work, Work]:
    """One env and `count` of them."""
    pool = ThreadPoolExecutor(WORKERS)
    envs = [PythonEnv() for _ in range(count)]
    return envs[0].step, lambda action: list(pool.map(lambda env: env.step(action), envs))


report("SkyRL-gym", opened)
