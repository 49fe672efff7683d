"""From the bytes that a program wrote to the text that an execution shows."""

import os
from collections.abc import Callable
from typing import Final

HARD_LIMIT_FACTOR: Final = 16
"""A stream may grow to this many times `Limits.output_bytes` before the program is ended."""

_MARKER: Final = "\n[... {count} bytes omitted ...]\n"


def shorten(size: int, limit: int, read: Callable[[int, int], bytes]) -> tuple[str, bool]:
    r"""Text of a stream of `size` bytes, at most `limit` bytes of it: head and tail.

    Args:
        size: Bytes in the stream.
        limit: Bytes to keep, the marker included.
        read: `read(count, offset)`.

    Returns:
        The text, invalid UTF-8 replaced, and whether something was left out.

    >>> data = b"a" * 50 + b"b" * 50
    >>> shorten(100, 100, lambda count, at: data[at : at + count])[1]
    False
    >>> shorten(100, 60, lambda count, at: data[at : at + count])
    ('aaaaaaaaaaaaaaa\n[... 69 bytes omitted ...]\nbbbbbbbbbbbbbbbb', True)
    """
    if size <= limit:
        return read(size, 0).decode("utf-8", "replace"), False
    room = limit - len(_MARKER.format(count=size))
    if room < 2:
        return _whole_characters_head(read(limit, 0)).decode("utf-8", "replace"), True
    head = _whole_characters_head(read(room // 2, 0))
    tail_bytes = room - room // 2
    tail = _whole_characters_tail(read(tail_bytes, size - tail_bytes))
    marker = _MARKER.format(count=size - len(head) - len(tail))
    return head.decode("utf-8", "replace") + marker + tail.decode("utf-8", "replace"), True


def shorten_file(descriptor: int, limit: int) -> tuple[str, bool, int]:
    """`shorten` of an open file, and its size."""
    size = os.fstat(descriptor).st_size
    text, cut = shorten(size, limit, lambda count, at: os.pread(descriptor, count, at))
    return text, cut, size


def shorten_bytes(data: bytes, limit: int) -> tuple[str, bool]:
    """`shorten` of bytes in memory."""
    return shorten(len(data), limit, lambda count, at: data[at : at + count])


def _whole_characters_head(data: bytes) -> bytes:
    """Without a character that was cut at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return data
        if byte >= 0xC0:
            need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data if back >= need else data[:-back]
    return data


def _whole_characters_tail(data: bytes) -> bytes:
    """Without the rest of a character that was cut at the start."""
    skip = 0
    while skip < min(3, len(data)) and 0x80 <= data[skip] < 0xC0:
        skip += 1
    return data[skip:]
