"""Sandboxes by description: `local:concurrency=8`, `fusion:http://host:8080`, `module:object`."""

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from rewards.suggestion import did_you_mean
from torl_env.loading import load_object
from torl_env.sandbox.types import Sandbox

_CLASSES: Final[Mapping[str, str]] = {
    "local": "torl_env.sandbox.local.sandbox:LocalSandbox",
    "subprocess": "torl_env.sandbox.backends.subprocess:SubprocessSandbox",
    "fusion": "torl_env.sandbox.backends.fusion_client:FusionSandbox",
    "ray": "torl_env.sandbox.backends.ray:RaySandbox",
    "unsafe": "torl_env.sandbox.backends.unsafe:UnsafeSandbox",
}
NAMES: Final = tuple(_CLASSES)
_PLACES: Final[Mapping[str, str]] = {"fusion": "url", "ray": "address"}
"""The argument that stands behind the colon without a name."""
_FORMS: Final = (
    "local, local:OPTION=VALUE,..., subprocess, fusion:http://HOST:PORT, ray, ray:auto, "
    "ray:ray://HOST:PORT, unsafe, or MODULE:OBJECT"
)


def open_sandbox(spec: Sandbox | str | None = None) -> Sandbox:
    r"""Make the sandbox that `spec` describes.

    Args:
        spec: `None` for `local`, a sandbox (returned as it is), or one of

            - `local`, `local:packages=pandas,networkx,concurrency=8,strict=true`: keyword arguments
              of `LocalSandbox`; a piece without `=` belongs to the list before it
            - `fusion:http://host:8080`, `fusion:https://host,token=SECRET,concurrency=32`
            - `ray`, `ray:auto`, `ray:ray://host:10001`
            - `subprocess`, `unsafe`: no isolation, for trusted programs
            - `module:object`: a sandbox, or what makes one when called without arguments

    Raises:
        TypeError: For another type.
        ValueError: For a description that nothing matches; it says what was expected.
        ConfigError: For a `module:object` that cannot be imported.
        ModuleNotFoundError: For `ray` where Ray is not installed.

    >>> open_sandbox("local:concurrency=8").close()
    >>> open_sandbox("docker")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown sandbox 'docker': expected local, local:OPTION=VALUE,..., subprocess, ...
    >>> open_sandbox("fusion")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: sandbox 'fusion' needs the address of its server: write fusion:http://HOST:PORT ...
    """
    return sandbox_factory(spec)()


def sandbox_factory(spec: Sandbox | str | None = None) -> Callable[[], Sandbox]:
    """Check `spec` now, as `open_sandbox` does, and make the sandbox when called."""
    if spec is None:
        spec = "local"
    if not isinstance(spec, str):
        if not _is_sandbox(spec):
            raise TypeError(
                f"sandbox must be {_FORMS}, or an object with run, submit, session and close; "
                f"got {spec!r}"
            )
        found = spec
        return lambda: found
    name, _, rest = spec.partition(":")
    if name not in _CLASSES:
        if not rest:
            hint = did_you_mean(name, _CLASSES)
            raise ValueError(f"unknown sandbox {spec!r}: expected {_FORMS}.{hint}")
        return _from_module(spec)
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise ModuleNotFoundError("the sandbox 'ray' needs Ray: pip install torl-gym[ray]")
    module, _, attribute = _CLASSES[name].partition(":")
    cls: Callable[..., Sandbox] = getattr(importlib.import_module(module), attribute)
    options = _options(name, rest, inspect.signature(cls).parameters)
    # The constructors check what they are given and start nothing.
    cls(**options).close()
    return lambda: cls(**options)


def _is_sandbox(item: object) -> bool:
    """Whether it can be called as one; a class has the methods too, but for its objects."""
    methods = (getattr(item, name, None) for name in ("run", "submit", "session", "close"))
    return not isinstance(item, type) and all(map(callable, methods))


def _from_module(spec: str) -> Callable[[], Sandbox]:
    found = load_object(spec, "sandbox")
    if _is_sandbox(found):
        return lambda: found
    if not callable(found):
        raise ValueError(
            f"sandbox {spec!r}: expected a sandbox or what makes one, got {type(found).__name__}"
        )

    def make() -> Sandbox:
        made: Sandbox = found()
        if not _is_sandbox(made):
            raise TypeError(
                f"sandbox {spec!r} made {made!r}: expected an object with run, submit, session "
                "and close"
            )
        return made

    return make


def _options(
    name: str, text: str, parameters: Mapping[str, inspect.Parameter]
) -> dict[str, object]:
    """`url,concurrency=8,packages=a,b` as keyword arguments of the types that they are for."""
    known = [key for key in parameters if key not in ("limits", _PLACES.get(name))]
    takes = f"expected one of {', '.join(known)}" if known else "it takes none"
    texts: dict[str, list[str]] = {}
    key = ""
    for piece in text.split(",") if text else []:
        before, equals, after = piece.partition("=")
        if equals and before.isidentifier():
            key = before
            if key not in known:
                raise ValueError(f"sandbox {name!r} has no option {key!r}: {takes}")
            texts[key] = [after]
        elif key:
            texts[key].append(piece)
        elif name in _PLACES and _PLACES[name] not in texts:
            texts[_PLACES[name]] = [piece]
        else:
            raise ValueError(f"sandbox {name!r}: {piece!r} is no OPTION=VALUE: {takes}")
    if name == "fusion" and "url" not in texts:
        raise ValueError(
            "sandbox 'fusion' needs the address of its server: write fusion:http://HOST:PORT "
            "(`torl sandbox serve` starts one)"
        )
    return {key: _value(name, key, texts[key], str(parameters[key].annotation)) for key in texts}


def _value(name: str, key: str, texts: list[str], annotation: str) -> Any:
    """The texts of one option, as its annotation wants it."""
    several = "Sequence" in annotation
    if "bool" in annotation and len(texts) == 1 and texts[0].lower() in ("true", "false"):
        return texts[0].lower() == "true"
    if several:
        return tuple(texts)
    if len(texts) == 1:
        if "str" in annotation:
            return texts[0]
        try:
            if "int" in annotation:
                return int(texts[0])
            if "float" in annotation:
                return float(texts[0])
        except ValueError:
            pass
    kind = next(
        (words for type_, words in _WORDS.items() if type_ in annotation), "one value of text"
    )
    raise ValueError(f"sandbox {name!r}: {key} must be {kind}, got {','.join(texts)!r}")


_WORDS: Final = {"bool": "true or false", "int": "a whole number", "float": "a number"}
