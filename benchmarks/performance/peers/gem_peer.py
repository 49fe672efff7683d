"""GEM's maths environment with its Python tool, as its authors put them together."""

# mypy: disable-error-code="import-not-found"
import json
import sys

from datasets import Dataset
from gem.envs.math_env import MathEnv
from gem.tools.python_code_tool import PythonCodeTool
from gem.tools.tool_env_wrapper import ToolEnvWrapper
from gem.vector.async_vector_env import AsyncVectorEnv
from timing import seconds


def make() -> ToolEnvWrapper:
    """One env, one problem."""
    data = Dataset.from_dict({"problem": ["What is 6*7?"], "answer": ["42"]})
    return ToolEnvWrapper(
        MathEnv(dataset=data, use_mp=False), [PythonCodeTool()], max_tool_uses=999
    )


def main() -> None:
    """Print figures as JSON."""
    programs = json.loads(sys.argv[1])
    figures = {}
    for name, program in programs.items():
        action = f"I compute.\n```python\n{program}\n```"
        env = make()
        env.reset()
        rounds, count = (20, 64) if name == "print" else (4, 16)
        figures[f"GEM, scalar, {name}: steps/s"] = 1 / seconds(lambda: env.step(action), rounds)  # noqa: B023
        envs = AsyncVectorEnv(env_ids=["math"] * count, env_fns=[make] * count)
        envs.reset()
        many = seconds(lambda: envs.step([action] * count), 2)  # noqa: B023
        figures[f"GEM, {count} envs, {name}: steps/s"] = count / many
    print(json.dumps(figures))


main()
