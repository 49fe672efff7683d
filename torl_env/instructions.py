r"""What a model reads before the question: the task, the tools, how to give the answer.

Chat models read it as their system message, base models above the question.
"""

import re

from torl_env.config import EnvConfig
from torl_env.parsing.tags import HermesParser, describe_functions
from torl_env.problems.hub_table import HUB

TOOL_SYSTEM = (
    "Solve the math problem. You can run a ```python block and see its printed output. "
    "Put the final answer in \\boxed{}."
)
"""For problems of mathematics with Python in fences, the default."""
TEXT_SYSTEM = "Solve the math problem step by step. Put the final answer in \\boxed{}."
"""For problems of mathematics without a tool."""


def system_text(config: EnvConfig, *, tools_apart: bool = False) -> str:
    r"""The system text of an environment.

    `config.system` with `{tools}` replaced, or else a text that fits: it speaks of mathematics only
    where the problems are known for it, of a box only where our own grader looks for one, and of
    tools only where calls are allowed (`tool_budget` is not 0).

    Args:
        config: The environment.
        tools_apart: The model's chat template lists the tools.

    Example:
        >>> system_text(EnvConfig()) == TOOL_SYSTEM
        True
        >>> system_text(EnvConfig(problems="mine.csv", tool_budget=0))
        'Answer the question step by step. Put the final answer in \\boxed{}.'
        >>> system_text(EnvConfig(system="Be brief. {tools}", parser="xml")).splitlines()[0]
        'Be brief. To call a tool, end your turn with one of these elements; its output follows.'
    """
    if config.system is not None:
        shown = "" if tools_apart else tools_text(config)
        return config.system.replace("{tools}", shown).strip()
    mathematical = _are_mathematical(config.problems)
    task = "Solve the math problem" if mathematical else "Answer the question"
    box = " Put the final answer in \\boxed{}." if config.grader is None else ""
    if config.tool_budget == 0:
        return f"{task} step by step.{box}"
    if tools_apart:
        return f"{task}.{box}"
    if config.tools is None and config.parser == "fenced":
        return f"{task}. You can run a ```python block and see its printed output.{box}"
    return f"{task}.{box}\n\n{tools_text(config)}"


def tools_text(config: EnvConfig) -> str:
    """The tools in the style of the parser, `""` where none may be called."""
    if config.tool_budget == 0:
        return ""
    parser = config.components.parser
    describe = getattr(parser, "describe", None)
    schemas = config.components.schemas
    # A parser of one's own may leave this out; JSON schemas can be read without a style.
    text: str = describe_functions(schemas) if describe is None else describe(schemas)
    return text


def takes_tools(config: EnvConfig) -> bool:
    """Whether a chat template's own rendering of tools is in the style of the parser."""
    return config.tool_budget > 0 and isinstance(config.components.parser, HermesParser)


def _are_mathematical(problems: object) -> bool:
    name = str(problems if isinstance(problems, str) else getattr(problems, "name", ""))
    # Views add to the name: `math500[:64]`, `math500 shuffled by 0`.
    first = re.split(r"[\[ ]", name, maxsplit=1)[0]
    return first.startswith("procedural") or first in HUB
