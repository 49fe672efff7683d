"""Landlock: which files a process and its children may still open, whatever their user."""

import ctypes
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torl_env.sandbox.forkserver import kernel

_CREATE: Final = 444
_ADD_RULE: Final = 445
_RESTRICT: Final = 446

_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_WRITE_FILE: Final = 1 << 1
_EXECUTE: Final = 1 << 0
_SPECIAL_FILES: Final = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11
"""To make devices, sockets and pipes."""
_IOCTL_DEVICE: Final = 1 << 15


def abi() -> int:
    """Version of Landlock in this kernel, 0 for none."""
    version = kernel.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(version, 0)


def _handled(version: int) -> tuple[int, int, int]:
    """Everything this version can deny: file rights, network rights, scopes."""
    files = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        if version >= since:
            files |= 1 << bit
    return files, 3 if version >= 4 else 0, 3 if version >= 6 else 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays allowed."""

    readable: Sequence[str]
    """Files and directories with all below; missing ones are skipped."""
    listed: Sequence[str] = ()
    """Directories whose names below may be listed, but not read."""
    writable: Sequence[str] = ()
    """Device files that may also be written."""
    proc: int = -1
    """An open directory that stays readable; children cannot reach it by any path."""
    own: Sequence[int] = ()
    """Open directories in which files may be made, changed and removed."""


class Ruleset:
    """Rules that the kernel knows.

    Raises:
        OSError: Where the kernel has no Landlock.
    """

    def __init__(self, rules: Rules) -> None:
        version = abi()
        if version < 1:
            raise OSError("this kernel has no Landlock")
        rights = _handled(version)
        size = 3 if version >= 6 else 2 if version >= 4 else 1
        attribute = struct.pack(f"={size}Q", *rights[:size])
        self._file = kernel.checked(
            kernel.syscall(_CREATE, attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint32(0)),
            "landlock_create_ruleset",
        )
        for path in rules.readable:
            _allow(self._file, path, _READ_FILE | _READ_DIR)
        for path in rules.listed:
            _allow(self._file, path, _READ_DIR)
        for path in rules.writable:
            _allow(self._file, path, _READ_FILE | _WRITE_FILE)
        for place in rules.own:
            _add(self._file, place, rights[0] & ~(_EXECUTE | _SPECIAL_FILES | _IOCTL_DEVICE))
        if rules.proc >= 0:
            _add(self._file, rules.proc, _READ_FILE | _READ_DIR)
        self._restrict = kernel.prepared(
            "syscall", ctypes.c_long(_RESTRICT), ctypes.c_int(self._file), ctypes.c_uint32(0)
        )

    def restrict(self) -> None:
        """Deny this process and its future children everything but the rules."""
        kernel.checked(self._restrict(), "landlock_restrict_self")

    def close(self) -> None:
        """Forget the rules; who is restricted stays so."""
        os.close(self._file)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112
            rights &= ~_READ_DIR
        _add(ruleset, handle, rights)
    finally:
        os.close(handle)


def _add(ruleset: int, handle: int, rights: int) -> None:
    rule = struct.pack("=Qi", rights, handle)
    kernel.checked(
        kernel.syscall(_ADD_RULE, ctypes.c_int(ruleset), 1, rule, 0), "landlock_add_rule"
    )
