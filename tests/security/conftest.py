"""Hostile programs as text, and the sandboxes of every set of layers that this kernel can build."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

LAYER_SETS = {
    "everything": (),
    "unprivileged": ("unprivileged",),
    "no-namespaces": ("namespaces",),
    "no-namespaces-unprivileged": ("namespaces", "unprivileged"),
    "no-landlock": ("landlock",),
    "no-seccomp": ("seccomp",),
    "no-landlock-no-namespaces": ("landlock", "namespaces"),
}
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Attack:
    """One hostile program and what must come of it."""

    name: str
    outcome: str
    """In words."""
    by: frozenset[str]
    """Layers of which each alone is enough; empty where it must always hold."""
    spares: frozenset[str]
    """Layers without any of which it harms the server itself; empty where it never does."""
    statuses: frozenset[str]
    prints: str | None
    code: str

    def spares_the_server(self, held: frozenset[str]) -> bool:
        return not self.spares or bool(self.spares & held)


def read_attacks(category: str) -> list[Attack]:
    text = (PROGRAMS / f"{category}.txt").read_text(encoding="utf-8")
    return [_attack(category, part) for part in text.split("=== ")[1:]]


def _attack(category: str, part: str) -> Attack:
    name, *lines = part.split("\n")
    fields: dict[str, str] = {}
    while lines and (match := re.match(r"(outcome|by|spares|status|prints): (.*)", lines[0])):
        fields[match[1]] = match[2]
        lines.pop(0)
    prints = fields.get("prints")
    return Attack(
        name=f"{category}/{name}",
        outcome=fields["outcome"],
        by=frozenset(fields.get("by", "").split()),
        spares=frozenset(fields.get("spares", "").split()),
        statuses=frozenset(fields["status"].split()),
        prints=None if prints is None else prints.encode().decode("unicode_escape"),
        code="\n".join(lines).strip("\n"),
    )


@pytest.fixture(scope="session")
def categories() -> dict[str, list[Attack]]:
    return {path.stem: read_attacks(path.stem) for path in sorted(PROGRAMS.glob("*.txt"))}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(off, id=name, marks=() if not off else pytest.mark.slow)
        for name, off in LAYER_SETS.items()
    ],
)
def layers_off(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Layers to leave out: one set after the other."""
    off: tuple[str, ...] = request.param
    return off
