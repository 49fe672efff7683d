"""Problems from Hugging Face data sets, through `datasets`, by short name or by path."""

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

from rewards.suggestion import did_you_mean
from torl_env.errors import ProblemError
from torl_env.problems.columns import detect, read_row
from torl_env.problems.files import with_distinct_ids
from torl_env.problems.hub_table import HUB, HubSet, Rule
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

MIRROR = "TORL_HUB_MIRROR"
"""Environment variable: a folder with copies of hub sets as `org/name`, read before the hub."""
_PROBE_SECONDS = 5.0
_PROBE_AGAIN_SECONDS = 30.0
_SPLITS = ("train", "test", "validation", "dev")


def open_hub(name: str, split: str | None = None, *, skipped: list[str] | None = None) -> Listed:
    """The problems of a hub set.

    Args:
        name: A short name of the table, or `hub:org/name[@revision][:config][:split]`, where a
            single part after the name is a split if it is `train`, `test`, `validation` or `dev`.
        split: A split of the set; by default the one of the name or the table.
        skipped: When given, a message for each row that is left out is appended here; by default
            a warning says how many rows have no question or no answer.

    Returns:
        The problems in the order of the set. Rows that have no question or no answer, and those
        that the rule of a set of the table drops, are left out.

    Raises:
        ProblemError: an unknown name, no `datasets`, no network and no copy, or rows that hold no
            question and answer.
    """
    wanted = _parse(name)
    chosen = split or wanted.split
    rows = _rows(wanted, chosen)
    columns = wanted.columns
    problems: list[Problem] = []
    invalid: list[str] = []
    unread: list[str] = []
    for number, row in enumerate(rows, start=1):
        where = f"{wanted.path} ({chosen}), row {number}"
        if not wanted.rule.keeps(row):
            invalid.append(f"{where}: its authors mark it as a proof, or as invalid.")
            continue
        columns = columns or detect(row, where)
        try:
            defaults = {"source": wanted.name, "split": chosen}
            problems.append(read_row(row, columns, where, defaults))
        except ProblemError as error:
            unread.append(str(error))
    left_out = [*unread, *invalid]
    count = len(problems) + len(left_out)
    if not problems:
        reason = f" The first: {left_out[0]}" if left_out else ""
        raise ProblemError(
            f"{name}: expected problems, but none of its {count} rows is one.{reason}"
        )
    if skipped is not None:
        skipped += left_out
    elif unread:
        text = f"{len(unread)} of {count} rows of {name} are left out; the first: {unread[0]}"
        warnings.warn(text, stacklevel=2)
    return Listed(wanted.name, with_distinct_ids(problems))


def _parse(name: str) -> HubSet:
    if name in HUB:
        return HUB[name]
    place, *rest = name.removeprefix("hub:").split(":")
    path, _, revision = place.partition("@")
    if not name.startswith("hub:") or path.count("/") != 1 or len(rest) > 2:
        hint = did_you_mean(name.removeprefix("hub:"), HUB)
        raise ProblemError(
            f"{name!r}: expected a short name ({', '.join(HUB)}) or "
            f"hub:org/name[@revision][:config][:split].{hint}"
        )
    if len(rest) == 1:
        rest = ["", rest[0]] if rest[0] in _SPLITS else [rest[0], ""]
    config, split = [*rest, "", ""][:2]
    known = next((s for s in HUB.values() if s.path == path and (s.config or "") == config), None)
    return HubSet(
        name=name,
        path=path,
        config=config or None,
        split=split or (known.split if known else "train"),
        columns=known.columns if known else None,
        rule=known.rule if known else Rule.ALL,
        revision=revision or None,
    )


def _rows(wanted: HubSet, split: str) -> Iterator[Mapping[str, Any]]:
    try:
        import datasets
    except ImportError:
        raise ProblemError(
            f"{wanted.name}: hub sets need the package `datasets`. "
            f"Install it with: pip install 'torl-gym[hub]'."
        ) from None
    copy = _mirrored(wanted.path)
    reachable = copy is not None or hub_answers()
    try:
        with nullcontext() if reachable else _offline():
            table = datasets.load_dataset(
                str(copy or wanted.path),
                wanted.config,
                split=split,
                revision=None if copy else wanted.revision,
            )
    except ConnectionError:
        raise ProblemError(_unreachable(wanted)) from None
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        if not reachable:
            raise ProblemError(_unreachable(wanted)) from None
        reason = str(error).strip().splitlines()
        raise ProblemError(
            f"{wanted.name}: expected the hub set {wanted.path} (config {wanted.config}, split "
            f"{split}), got: {reason[0] if reason else type(error).__name__}. Check the name, or "
            f"log in with `hf auth login` if the set is gated."
        ) from None
    yield from table


def _mirrored(path: str) -> Path | None:
    folder = os.environ.get(MIRROR)
    if not folder:
        return None
    copy = Path(folder) / path
    return copy if copy.is_dir() else None


def hub_answers() -> bool:
    """Whether the hub can be reached at all, asked at most every half minute.

    `datasets` and `transformers` retry for tens of seconds before they say that there is none.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return _probe(endpoint, int(time.monotonic() / _PROBE_AGAIN_SECONDS))


@lru_cache(maxsize=8)
def _probe(endpoint: str, _period: int) -> bool:
    # Imported here: `ssl` and `http` are for those who open a set of the hub.
    from torl_env.http_client import HttpClient, Retry, UnreachableError

    try:
        client = HttpClient(endpoint, retry=Retry(attempts=0, statuses=()))
        client.ask("HEAD", "/", timeout=_PROBE_SECONDS)
        client.close()
    except (UnreachableError, TimeoutError, ValueError):
        return False
    return True  # whatever the answer was


@contextmanager
def _offline() -> Iterator[None]:
    """Let `datasets` look into its cache only."""
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before


def _unreachable(wanted: HubSet) -> str:
    return (
        f"{wanted.name}: expected to download {wanted.path} from the Hugging Face hub, but there "
        f"is no network and no cached copy. Connect, or give a file (.jsonl, .json, .parquet, "
        f".csv), or set {MIRROR} to a folder that holds {wanted.path}, or use `procedural`, "
        f"which needs no data."
    )
