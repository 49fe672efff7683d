"""One function that opens any source of problems by name or path."""

import re
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewards.suggestion import did_you_mean
from torl_env.errors import ProblemError
from torl_env.loading import is_reference, load_object
from torl_env.problems.files import open_file
from torl_env.problems.hub_table import HUB
from torl_env.problems.source import Head, Listed, Source
from torl_env.problems.types import Problem, ProblemSource

if TYPE_CHECKING:
    from torl_env.problems.procedural.family import Split

_HUB_NAME = re.compile(r"[\w-]+/[\w.-]+(?<!\.jsonl)(?<!\.json)(?<!\.parquet)(?<!\.csv)")

SIZES = {"train": 1_000_000, "heldout": 1000}
"""Lengths of generated sources: more than a run draws, and what one evaluation can take.

Small numbers come again: of the first 20,000 problems of `procedural:easy` 1,837 ask what one
before has asked, and of its 1,000 held-out ones 28. No held-out question is a training question.
Level 1 is narrow: of the 1,000 of `procedural:transfer` 49 repeat a question and 111 its numbers
(`necklaces` has 4 different problems at level 1 and 8 at level 2).
"""


def load(name_or_path: str | PathLike[str], split: str | None = None) -> Source:
    """Open a source of problems.

    | `name_or_path` | opens |
    |---|---|
    | `procedural` | every family that may be trained on, levels 1 to 5 |
    | `procedural:easy`, `procedural:contest`, `procedural:transfer` | a group of families |
    | `procedural:gcd`, `procedural:gcd,product`, `procedural:number_theory` | families, a subject |
    | `procedural:L2`, `procedural:easy:L1-3` | only these levels |
    | `math500`, `aime24`, ... (see `torl data list`) | a hub set by short name |
    | `hub:org/name[@rev][:config][:split]` | any hub set with a question and an answer column |
    | `reasoning_gym`, `reasoning_gym:gcd,lcm` | families of that package, where installed |
    | `mine:problems` | `module:object`: a source, a class of sources or a list of problems |
    | `some/file.jsonl` (`.json`, `.parquet`, `.csv`) | a file |

    A file wins over a name of the same spelling only when it has one of these endings.

    Args:
        name_or_path: As in the table.
        split: Generated sources: `train` (default; a million problems) or `heldout` (a thousand),
            which share no question. Hub sets: a split of the set, by default the one that its
            benchmark uses. Files: keep the rows whose column `split` says so.

    Raises:
        ProblemError: nothing of this name, or what is there holds no problems; the message names
            what was expected, what was found (with the line) and what to do.

    Example:
        >>> load("procedural:gcd:L1", split="heldout")[0].id
        'gcd-L1-heldout-0'
    """
    name = fspath(name_or_path).strip()
    if name == "procedural" or name.startswith("procedural:"):
        return _procedural(name, split)
    if name == "reasoning_gym" or name.startswith("reasoning_gym:"):
        return _reasoning_gym(name, split)
    if name.startswith("hub:") or name in HUB:
        from torl_env.problems.hub import open_hub

        return open_hub(name, split)
    path = Path(name)
    if _HUB_NAME.fullmatch(name) and not path.exists():
        raise ProblemError(
            f"{name!r}: there is no such file. For the set of the Hugging Face hub write "
            f"hub:{name}; a file ends in .jsonl, .json, .parquet or .csv."
        )
    if path.suffix.lower() in (".jsonl", ".json", ".parquet", ".csv") or "/" in name:
        return open_file(path, split)
    if is_reference(name):
        # `procedral:easy` has the form of an object's name.
        return as_source(load_object(name, "problems", instead=_names()), name)
    raise _unknown(name)


def as_source(given: Any, name: str) -> Source:
    """A source from an object: itself, of its class, or over a list of problems.

    Raises:
        ProblemError: It is none of these.
    """
    if isinstance(given, type):
        try:
            given = given()
        except TypeError as error:
            raise ProblemError(
                f"{name}: the class {given.__name__} needs arguments ({error}); name an object"
            ) from None
    if isinstance(given, Source):
        return given
    if isinstance(given, ProblemSource):
        view = Head(given, len(given))
        view.name = given.name
        return view
    if isinstance(given, list | tuple) and all(isinstance(one, Problem) for one in given):
        return Listed(name, given)
    raise ProblemError(
        f"{name}: expected a torl_env.problems.Source or a list of Problem, got {given!r:.200}"
    )


def _reasoning_gym(name: str, split: str | None) -> Source:
    from torl_env.problems.reasoning_gym import FAMILIES, ReasoningGymSource

    side = _side(name, split, "train")
    families = [word for word in name.partition(":")[2].split(",") if word]
    source = ReasoningGymSource(families or FAMILIES, side, size=SIZES[side])
    source.name = name
    return source


def _side(name: str, split: str | None, default: str) -> "Split":
    from torl_env.problems.procedural.family import Split

    try:
        return Split(default if split is None else split)
    except ValueError:
        raise ProblemError(f"{name}: expected split 'train' or 'heldout', got {split!r}.") from None


def _procedural(name: str, split: str | None) -> Source:
    from torl_env.problems.procedural.catalogue import select
    from torl_env.problems.procedural.source import ProceduralSource

    text = name.partition(":")[2]
    # The transfer group is for evaluation alone and has no training split.
    default = "heldout" if text.partition(":")[0] == "transfer" else "train"
    side = _side(name, split, default)
    families, levels = select(text, side)
    source = ProceduralSource([family.name for family in families], levels, side, size=SIZES[side])
    source.name = name
    return source


def _names() -> list[str]:
    """All that are known by name."""
    from torl_env.problems.procedural.catalogue import names

    return ["procedural", *HUB, *(f"procedural:{word}" for word in names())]


def _unknown(name: str) -> ProblemError:
    known = _names()
    hint = did_you_mean(name, known)
    if f"procedural:{name}" in known:
        hint = f" Did you mean procedural:{name}?"
    return ProblemError(
        f"{name!r}: expected `procedural[:...]`, a hub set ({', '.join(list(HUB)[:5])}, ...), "
        f"`hub:org/name` or a path to a .jsonl, .json, .parquet or .csv file.{hint} "
        f"`torl data list` shows all names."
    )
