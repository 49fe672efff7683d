"""Sandboxes by name."""

import importlib.util
from typing import Any, Final

from torl_env.sandbox.types import Sandbox

NAMES: Final = ("local", "fusion", "ray", "unsafe")


def make_sandbox(name: str | None = None, **options: Any) -> Sandbox:
    """Make the sandbox called `name`.

    Args:
        name: `local` (also for `None`), `fusion`, `ray` or `unsafe`.
        **options: Arguments of the class behind the name.

    Raises:
        ValueError: For another name.
        ModuleNotFoundError: For `ray` where Ray is not installed.

    >>> make_sandbox("docker")
    Traceback (most recent call last):
    ...
    ValueError: unknown sandbox 'docker': expected one of local, fusion, ray, unsafe
    """
    match name or "local":
        case "local":
            from torl_env.sandbox.local.sandbox import LocalSandbox

            return LocalSandbox(**options)
        case "fusion":
            from torl_env.sandbox.backends.fusion_client import FusionSandbox

            return FusionSandbox(**options)
        case "ray":
            if importlib.util.find_spec("ray") is None:
                raise ModuleNotFoundError("the sandbox 'ray' needs Ray: pip install torl-gym[ray]")
            from torl_env.sandbox.backends.ray import RaySandbox

            return RaySandbox(**options)
        case "unsafe":
            from torl_env.sandbox.backends.unsafe import UnsafeSandbox

            return UnsafeSandbox(**options)
        case other:
            raise ValueError(f"unknown sandbox {other!r}: expected one of {', '.join(NAMES)}")
