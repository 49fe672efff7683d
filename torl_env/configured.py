"""What the scalar and the vector environment have of the `EnvConfig` they are made from."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

from torl_env.config import EnvConfig
from torl_env.parsing.types import Parser
from torl_env.problem_sampling import open_problems
from torl_env.problems.types import ProblemSource
from torl_env.sandbox.shared import SharedSandbox


class Configured:
    """An environment with problems and a sandbox."""

    config: EnvConfig
    problems: ProblemSource
    _sandbox: SharedSandbox

    def _configure(
        self,
        problems: ProblemSource | str | PathLike[str] | None,
        config: EnvConfig | None,
        options: Mapping[str, Any],
    ) -> None:
        given = options if problems is None else {**options, "problems": problems}
        self.config = EnvConfig.of(config, **given)
        self.problems = open_problems(self.config.problems, self.config.split)
        # A handle: the sandbox is opened when code first runs, and shared by who names the same.
        self._sandbox = SharedSandbox(self.config.sandbox)

    @property
    def parser(self) -> Parser:
        """What reads the turns; give it to `closes_tool_call` where it is not the fenced one."""
        return self.config.components.parser

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Function schemas of the tools, as chat templates take them."""
        return self.config.components.schemas
