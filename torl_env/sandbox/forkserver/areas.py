"""A private place for files by name: `/sandbox` and `/tmp`, a few megabytes for each program.

Each is a mount namespace like the server's, with a file system in memory of its own. The server
makes one in a tenth of a millisecond and holds it by a descriptor; a child enters it before it
gives up its rights. It goes with its last process, and the server uses it again for the next
program only if it is as empty as before.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from torl_env.sandbox.forkserver import kernel, landlock, rootfs

MEGABYTES: Final = 8
_FILES: Final = 1024
"""Most files and directories: each takes a kilobyte of the kernel's memory."""
_OPTIONS: Final = f"size={MEGABYTES}m,nr_inodes={_FILES},mode=755"
_NAMES: Final = ("home", "tmp")
"""The directories of its root, which lie at `/sandbox` and `/tmp`."""


@dataclass(frozen=True, slots=True)
class Area:
    """One place; `close` it once its programs have been started."""

    namespace: int
    root: int
    """An open directory of its file system."""
    ruleset: landlock.Ruleset | None
    state: tuple[int, ...]
    enter: Callable[[], None]
    """Makes it this process's, which needs the server's rights."""

    @property
    def used(self) -> bool:
        """Whether a program has made, removed or changed anything."""
        return _state(self.root) != self.state

    def close(self) -> None:
        """Let go of it."""
        os.close(self.namespace)
        os.close(self.root)
        if self.ruleset is not None:
            self.ruleset.close()


def _state(root: int) -> tuple[int, ...]:
    """What changes with every change: blocks, files, and the modes and times of the directories."""
    room = os.statvfs(root)
    places = [os.stat(name, dir_fd=root) for name in _NAMES]
    return (
        room.f_bfree,
        room.f_ffree,
        *(value for place in places for value in (place.st_mode, place.st_ctime_ns)),
    )


class Areas:
    """Makes them.

    Args:
        proc: Directory of a /proc that shows this process.
        rules: What programs may open besides; `None` without Landlock.

    Raises:
        OSError: The first cannot be made.
    """

    def __init__(self, proc: int, rules: landlock.Rules | None) -> None:
        self._proc = proc
        self._rules = rules
        with os.scandir(rootfs.TMP) as entries:
            # Python itself may lie there.
            self._tmp = next(entries, None) is None
        self._leave = kernel.entering_mounts(self._mounts(), rootfs.HOME)
        self.make().close()

    def _mounts(self) -> int:
        return os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)

    def make(self) -> Area:
        """A new one."""
        kernel.unshare(kernel.CLONE_NEWNS)
        places: Sequence[int] = ()
        try:
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            # Else a program could tell when an earlier one has looked into its directories.
            flags |= kernel.MS_NOATIME
            kernel.mount("tmpfs", rootfs.HOME, "tmpfs", flags, _OPTIONS)
            root = os.open(rootfs.HOME, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # Both in one file system, so that they share its size.
            for name, place in (("tmp", rootfs.TMP), ("home", rootfs.HOME)):
                source = f"{rootfs.HOME}/{name}"
                os.mkdir(source)  # noqa: PTH102
                os.chmod(source, 0o1777)  # noqa: PTH101
                if place == rootfs.HOME or self._tmp:
                    kernel.mount(source, place, None, kernel.MS_BIND)
            namespace = self._mounts()
            places = [os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=root) for name in _NAMES]
            enter = kernel.entering_mounts(namespace, rootfs.HOME)
            return Area(namespace, root, self._ruleset(places), _state(root), enter)
        finally:
            for opened in places:
                os.close(opened)
            self._leave()

    def _ruleset(self, places: Sequence[int]) -> landlock.Ruleset | None:
        if self._rules is None:
            return None
        return landlock.Ruleset(replace(self._rules, own=places))
