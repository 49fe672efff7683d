"""Sandboxes by description: what opens, and what is said where nothing does."""

import sys
import types
from typing import Any

import pytest

from torl_env.errors import ConfigError
from torl_env.sandbox import (
    LocalSandbox,
    SubprocessSandbox,
    UnsafeSandbox,
    open_sandbox,
    sandbox_factory,
)
from torl_env.sandbox.backends.fusion_client import FusionSandbox


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("torl_test_sandboxes")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (None, LocalSandbox),
        ("local", LocalSandbox),
        ("subprocess", SubprocessSandbox),
        ("unsafe", UnsafeSandbox),
        ("fusion:http://host:8080", FusionSandbox),
        ("torl_env.sandbox:UnsafeSandbox", UnsafeSandbox),
    ],
)
def test_each_form_opens_its_class(spec: str | None, kind: type) -> None:
    with open_sandbox(spec) as sandbox:
        assert type(sandbox) is kind


def test_options_have_the_types_of_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    before = LocalSandbox.__init__

    def record(self: LocalSandbox, *args: Any, **options: Any) -> None:
        seen.append(options)
        before(self, *args, **options)

    record.__signature__ = __import__("inspect").signature(before)  # type: ignore[attr-defined]
    monkeypatch.setattr(LocalSandbox, "__init__", record)
    text = "packages=pandas,networkx,concurrency=8,strict=true,hung_after=2.5,python=/usr/bin/p"
    open_sandbox(f"local:{text},off=landlock").close()
    assert seen[-1] == {
        "packages": ("pandas", "networkx"),
        "concurrency": 8,
        "strict": True,
        "hung_after": 2.5,
        "python": "/usr/bin/p",
        "off": ("landlock",),
    }


def test_an_object_is_returned_as_it_is(mine: types.ModuleType) -> None:
    with UnsafeSandbox() as sandbox:
        assert open_sandbox(sandbox) is sandbox
        mine.box, mine.make = sandbox, lambda: sandbox  # type: ignore[attr-defined]
        assert open_sandbox("torl_test_sandboxes:box") is sandbox
        assert open_sandbox("torl_test_sandboxes:make") is sandbox


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("docker", ValueError, "unknown sandbox 'docker': expected local, .*fusion:http://HOST"),
        ("fusion", ValueError, "write fusion:http://HOST:PORT .*torl sandbox serve"),
        ("fusion:host:8080", ValueError, "expected a URL such as http://localhost:8080"),
        ("local:8", ValueError, "'8' is no OPTION=VALUE: expected one of concurrency"),
        ("local:packages", ValueError, "'packages' is no OPTION=VALUE"),
        ("local:concurency=8", ValueError, "no option 'concurency': expected one of concurrency"),
        ("local:concurrency=many", ValueError, "concurrency must be a whole number, got 'many'"),
        ("local:concurrency=0", ValueError, "concurrency must be at least 1"),
        ("local:tiered=perhaps", ValueError, "tiered must be true or false, got 'perhaps'"),
        ("unsafe:a=1", ValueError, "'unsafe' has no option 'a': it takes none"),
        ("nowhere.at.all:box", ConfigError, "there is no module 'nowhere' here"),
        ("os:nothing", ConfigError, "has no 'nothing'"),
        ("os:path", ValueError, "expected a sandbox or what makes one, got module"),
        (3, TypeError, "an object with run, submit, session and close; got 3"),
        (UnsafeSandbox, TypeError, "got <class"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_opened(
    spec: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sandbox_factory(spec)


def test_what_a_factory_makes_is_checked_too() -> None:
    with pytest.raises(TypeError, match=r"'os:getpid' made \d+: expected an object with run"):
        open_sandbox("os:getpid")
