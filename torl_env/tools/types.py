"""The nouns of tools: what one is, what it may use, what it returns."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torl_env.errors import TorlError
from torl_env.sandbox.types import Execution, Limits, Sandbox, Status
from torl_env.tools.session import CodeSession


class ToolError(TorlError):
    """The model used a tool wrongly; the message is shown to it as the tool's output."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What one call gave."""

    text: str
    """What the model reads; the env shortens and frames it."""
    status: Status = Status.OK
    """Anything but `OK` is a failed call by the model's fault."""
    error_type: str = ""
    """Short name of what went wrong (`NameError`), `""` when nothing did."""
    should_stop: bool = False
    """Ends the episode: the tool took the final answer, for example."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Numbers for whoever watches; they never reach the model or the reward."""
    images: tuple[bytes, ...] = ()
    """PNG files for whoever reads the transcript; the model gets `text` only."""


Outcome = ToolResult | Execution


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may use of the running episode."""

    sandbox: Sandbox
    limits: Limits
    session: CodeSession | None
    """The interpreter of this episode, `None` unless the env is stateful."""


@runtime_checkable
class Tool(Protocol):
    """Something a model can call by name."""

    # Properties in the protocol, so that plain attributes and read-only ones both satisfy it.
    @property
    def name(self) -> str:
        """What the model calls it by."""
        ...

    @property
    def description(self) -> str:
        """What the model reads of it."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema: `{"type": "object", "properties": ..., "required": ...}`."""
        ...

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> Outcome:
        """Do it and wait. Called from any thread, for several episodes at once.

        Raises:
            ToolError: The arguments make no sense: the model's fault.
            SandboxError: The machine failed: the call is tried once more, then the episode is void.
        """
        ...


@runtime_checkable
class SubmittingTool(Tool, Protocol):
    """A tool that can start its work without a thread that waits for it."""

    def submit(
        self, arguments: Mapping[str, Any], context: ToolContext
    ) -> Future[Execution] | None:
        """Start and return at once; `None` where only `run` will do. Cancelling kills the work."""
        ...
