"""How the turns of a model are read and how the answers of the environment are written."""

from collections.abc import Callable
from functools import lru_cache

from rewards.suggestion import did_you_mean
from torl_env.errors import ConfigError
from torl_env.parsing.fenced import FencedParser
from torl_env.parsing.tags import HermesParser, XmlParser
from torl_env.parsing.types import Parser

_STYLES: dict[str, Callable[[tuple[str, ...]], Parser]] = {
    "fenced": FencedParser,
    "xml": XmlParser,
    "hermes": HermesParser,
}


@lru_cache(maxsize=64)
def named_parser(style: str, names: tuple[str, ...] = ("python",)) -> Parser:
    """The parser of this style for tools of these names.

    Raises:
        ConfigError: No style has this name.
    """
    if style not in _STYLES:
        raise ConfigError(
            f"parser must be one of {', '.join(_STYLES)}, module:object or an object, got "
            f"{style!r}.{did_you_mean(style, _STYLES)}"
        )
    return _STYLES[style](names)
