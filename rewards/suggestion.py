"""What a misspelt name was probably meant to be."""

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """A sentence to end a message with; `""` where nothing is near.

    Args:
        name: What was given.
        known: What there is.
        most: Names to offer.

    >>> did_you_mean("mth500", ["math500", "amc23"])
    ' Did you mean math500?'
    >>> did_you_mean("xyz", ["math500", "amc23"])
    ''
    """
    # Imported here: it costs a millisecond, and only a mistake needs it.
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=most, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""
