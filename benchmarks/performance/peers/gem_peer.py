"""GEM's maths environment with its Python tool, as its authors put them together."""

# mypy: disable-error-code="import-not-found"
from datasets import Dataset
from gem.envs.math_env import MathEnv
from gem.tools.python_code_tool import PythonCodeTool
from gem.tools.tool_env_wrapper import ToolEnvWrapper
from gem.vector.async_vector_env import AsyncVectorEnv
from timing import Work, report


def make() -> ToolEnvWrapper:
    """One env, one problem."""
    data = Dataset.from_dict({"problem": ["What is 6*7?"], "answer": ["42"]})
    return ToolEnvWrapper(
        MathEnv(dataset=data, use_mp=False), [PythonCodeTool()], max_tool_uses=999
    )


def opened(count: int) -> tuple[Work, Work]:
    """One env and a vector of `count`."""
    env, envs = make(), AsyncVectorEnv(env_ids=["math"] * count, env_fns=[make] * count)
    env.reset()
    envs.reset()
    return env.step, lambda action: envs.step([action] * count)


report("GEM", opened)
