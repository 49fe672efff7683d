"""What isolation this machine gives, in words."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torl_env.sandbox.forkserver.config import Layer, ServerReport
from torl_env.sandbox.local.sandbox import LocalSandbox

MEANING: Final[Mapping[Layer, tuple[str, str]]] = {
    Layer.NAMESPACES: (
        "programs see no process, network or shared object but their own",
        "programs are kept from the network and from signalling others by seccomp only, and from "
        "the memory of other processes by Landlock only",
    ),
    Layer.ROOT: (
        "programs see no file but Python's, and write only to a few megabytes of their own",
        "files are hidden by Landlock only, or not at all where that is missing too; programs have "
        "no place to write files to",
    ),
    Layer.LANDLOCK: (
        "the kernel refuses every other file a second time",
        "files are hidden by the private file system only, or not at all where that is missing too",
    ),
    Layer.SECCOMP: (
        "programs cannot start processes, open sockets, signal others or reach rare kernel code",
        "programs can start processes and reach the whole kernel interface",
    ),
    Layer.USER: (
        "each program runs as a user of its own, and its threads are counted exactly",
        "programs share a user, and threads are bounded by memory instead of counted",
    ),
    Layer.CAPABILITIES: (
        "no program has or gains a privilege",
        "programs may keep privileges of this process",
    ),
    Layer.RLIMITS: (
        "CPU, memory, output and descriptors of each program are bounded",
        "programs are not bounded",
    ),
    Layer.CGROUP: (
        "all programs together cannot take this machine's memory",
        "many programs at their limits can together take this machine's memory",
    ),
}
"""Of a layer that holds, and of one that does not."""


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """One layer on this machine."""

    layer: Layer
    holds: bool
    detail: str
    meaning: str


def checks(report: ServerReport) -> list[LayerCheck]:
    """A server's report, layer by layer, in the order of their weight."""
    return [
        LayerCheck(layer, held.holds, held.detail, MEANING[layer][0 if held.holds else 1])
        for layer in MEANING
        if (held := report.layers.get(layer)) is not None
    ]


def verdict(found: list[LayerCheck]) -> str:
    """One sentence on all of them."""
    if sys.platform != "linux":
        return "This is not Linux: programs run as plain processes with resource limits only."
    missing = {one.layer for one in found if not one.holds}
    hidden = not {Layer.ROOT, Layer.LANDLOCK} <= missing
    if Layer.SECCOMP not in missing and hidden and Layer.CAPABILITIES not in missing:
        few = f", though without {', '.join(sorted(missing))}" if missing else ""
        return f"Programs are contained{few}: fit for untrusted code."
    if not hidden:
        memory = " and the memory of this user's processes" if Layer.NAMESPACES in missing else ""
        return (
            f"Programs can read this machine's files{memory}: "
            "use it only for code you would run yourself."
        )
    return "Programs are contained in part: see what is missing, or run the sandbox in a container."


def examine(sandbox: LocalSandbox) -> ServerReport:
    """Start a server and return what it says of itself."""
    sandbox.run("")
    return sandbox.reports()[0]
