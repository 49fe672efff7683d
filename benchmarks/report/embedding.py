"""Answers as a page holds them: a short row each to list and filter, the rest packed.

    index    one JSON object an answer, read when the page opens
    chunks   texts, outputs and figures of some dozen answers each, gzip in base64
    tokens   ids, loss masks and log-probabilities, in chunks of their own
    pieces   the text of each id that occurs, by run

A browser unpacks a chunk when an answer of it is opened, so that a page of thousands opens at once.
What does not fit is counted, and the page says so.
"""

import gzip
import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from agents.core.run.folder import latest_checkpoint
from agents.core.run.storage import finite
from agents.core.types import Turn
from benchmarks.heldout.cases import cases
from benchmarks.report.runs import Run
from benchmarks.report.transcripts import Shown, grouped, left_at, spread

CHUNK = 400_000
"""Characters of JSON in a chunk; it unpacks in some milliseconds."""
TOKENS = 1_000_000
"""Ids on a page, at about five bytes each."""
FIGURES = 20_000_000
"""Base64 characters of figures on a page."""
TEXT = 2_000_000
"""Characters of one text; of a longer one the page has head and tail, and says so."""
HEAD = 140
"""Characters of a question that the list shows."""


@dataclass(slots=True)
class Embedded:
    """What goes into the page's script elements, and what there was no room for."""

    index: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    pieces: str = ""
    with_tokens: int = 0
    """Answers whose ids are on the page."""
    have_tokens: int = 0
    """Answers that have ids."""
    figures: int = 0
    figures_shown: int = 0


def embed(shown: Sequence[Shown], runs: Sequence[Run], tokens: int = TOKENS) -> Embedded:
    """Pack the answers of a page.

    Args:
        shown: In the order of the page.
        runs: Theirs.
        tokens: Most ids on the page.
    """
    found = Embedded()
    with_tokens, with_figures = _room(shown, tokens, found)
    packer, token_packer = _Packer(found.chunks), _Packer(found.tokens)
    for number, one in enumerate(shown):
        row = _row(one)
        row["chunk"] = packer.add(_whole(one, with_figures=number in with_figures))
        if number in with_tokens:
            row["ids"] = token_packer.add(_ids(one))
        found.index.append(row)
    packer.close()
    token_packer.close()
    used: dict[int, set[int]] = {}
    for number in with_tokens:
        t = shown[number].trajectory
        used.setdefault(shown[number].run, set()).update(t.prompt_ids, t.ids)
    found.pieces = pack({str(run): pieces(runs[run], ids) for run, ids in used.items()})
    return found


def _room(shown: Sequence[Shown], tokens: int, found: Embedded) -> tuple[set[int], set[int]]:
    """Numbers of the answers whose ids fit and of those whose figures do, whole groups of them."""
    numbers = {id(one): number for number, one in enumerate(shown)}
    groups = [[numbers[id(one)] for one in group] for group in grouped(shown)]
    with_tokens, with_figures = set[int](), set[int]()
    figures = FIGURES
    for group in (groups[place] for place in spread(len(groups))):
        ids = sum(len(shown[n].trajectory.prompt_ids) + len(shown[n].trajectory.ids) for n in group)
        images = [image for n in group for turn in _turns(shown[n]) for image in turn.images]
        size = sum(map(len, images))
        found.have_tokens += len(group) if ids else 0
        found.figures += len(images)
        if 0 < ids <= tokens:
            with_tokens.update(group)
            tokens -= ids
        if size <= figures:
            with_figures.update(group)
            figures -= size
            found.figures_shown += len(images)
    found.with_tokens = len(with_tokens)
    return with_tokens, with_figures


def _turns(one: Shown) -> Iterator[Turn]:
    yield from one.trajectory.turns
    for branch in one.branches:
        yield from branch.turns


def _row(one: Shown) -> dict[str, Any]:
    """What the list shows and what filters and the comparison read."""
    t = one.trajectory
    return {
        "run": one.run,
        "place": one.place,
        "order": one.order,
        "id": t.problem_id,
        "sample": t.sample,
        "head": t.question[:HEAD],
        # Two suites may use one id for two problems; they are not compared.
        "question": zlib.crc32(t.question.encode("utf-8", "surrogatepass")),
        "verdict": t.verdict,
        "level": t.level,
        "subject": t.subject,
        "reward": t.reward,
        "lost": "" if t.scorable else (t.infra_error or "ungradable"),
        "sampled": sum(t.loss_mask),
        "calls": t.tool_calls,
        "cases": sorted(cases(t)),
        "statuses": [turn.tool_status for turn in t.turns if turn.tool_status],
        "tools": sorted({turn.tool_name for turn in t.turns if turn.tool_name}),
        "parent": t.parent,
        "shared": t.shared,
        "figures": sum(len(turn.images) + turn.images_dropped for turn in t.turns),
    }


def _whole(one: Shown, *, with_figures: bool) -> dict[str, Any]:
    """What is seen of an answer that is open."""
    t = one.trajectory
    return {
        "question": _cut(t.question),
        "reference": _cut(t.reference),
        "answer": _cut(t.answer),
        "terms": dict(t.reward_terms),
        "stop": t.stop_reason,
        "turns": [_turn(turn, turn.reward, with_figures) for turn in t.turns],
        "branches": [
            {"at": place, **_turn(branch.turns[-1], branch.reward, with_figures)}
            for branch in one.branches
            if (place := left_at(t, branch)) is not None
        ],
    }


def _turn(turn: Turn, reward: float, with_figures: bool) -> dict[str, Any]:
    return {
        "text": _cut(turn.text),
        "output": _cut(turn.observation),
        "kind": turn.action_kind,
        "tool": turn.tool_name,
        "status": turn.tool_status,
        "error": turn.error_type,
        "reward": reward,
        "figures": list(turn.images) if with_figures else [],
        "dropped": turn.images_dropped + (0 if with_figures else len(turn.images)),
    }


def _cut(text: str) -> str:
    if len(text) <= TEXT:
        return text
    left_out = len(text) - TEXT
    half = TEXT // 2
    return f"{text[:half]}\n[{left_out:,} characters are not on this page]\n{text[-half:]}"


def _ids(one: Shown) -> dict[str, Any]:
    """Ids as they are; log-probabilities in hundredths, which pack better, null where unknown."""
    t = one.trajectory
    return {
        "prompt": list(t.prompt_ids),
        "ids": list(t.ids),
        "mask": list(t.loss_mask),
        "logprobs": [round(100 * p) if isfinite(p) else None for p in t.logprobs],
        "entropies": [round(100 * e) for e in t.entropies if isfinite(e)],
    }


class _Packer:
    """Fills chunks one after the other.

    Args:
        chunks: Where full ones go.
    """

    def __init__(self, chunks: list[str]) -> None:
        self._chunks = chunks
        self._parts: list[str] = []
        self._size = 0

    def add(self, value: Mapping[str, Any]) -> tuple[int, int]:
        """Number of the chunk, and place in it."""
        if self._size >= CHUNK:
            self.close()
        part = json.dumps(finite(value), separators=(",", ":"))
        self._parts.append(part)
        self._size += len(part)
        return len(self._chunks), len(self._parts) - 1

    def close(self) -> None:
        """End the chunk that is being filled."""
        if self._parts:
            self._chunks.append(_packed(f"[{','.join(self._parts)}]"))
        self._parts, self._size = [], 0


def pack(value: Any) -> str:
    """A JSON value as gzip in base64."""
    return _packed(json.dumps(value, separators=(",", ":")))


def _packed(text: str) -> str:
    # No clock in the header: the same run gives the same page.
    return b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def pieces(run: Run, ids: set[int]) -> dict[str, str]:
    """The text of ids, by the tokenizer that lies in the run or with its model; else nothing."""
    file = _tokenizer(run)
    if file is None:
        return {}
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return {str(one): _piece(tokenizer, one) for one in sorted(ids)}


def _piece(tokenizer: Any, one: int) -> str:
    name = tokenizer.id_to_token(one)
    if name is None:
        return f"<{one}>"
    # SentencePiece marks a space by this sign, and decoding alone would lose a leading one.
    if "\u2581" in name:
        return str(name.replace("\u2581", " "))
    text: str = tokenizer.decode([one], skip_special_tokens=False)
    # A part of a character has no text of its own: its name in the vocabulary says which bytes.
    return str(name) if "\ufffd" in text or not text else text


def _tokenizer(run: Run) -> Path | None:
    model = run.options.get("model")
    folders = (latest_checkpoint(run.path), run.path / "warm-start", model)
    files = (Path(folder) / "tokenizer.json" for folder in folders if folder)
    return next(filter(Path.is_file, files), None)
