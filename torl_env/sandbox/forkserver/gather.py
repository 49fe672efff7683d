"""Gather the mappings of the loaded libraries in few anonymous ones, which are cheap to fork.

A shared library is four to six mappings, and a fork, the first use of a page and an exit pay for
each of them: with scipy there are hundreds. Here their bytes are copied to anonymous memory, which
then takes their place at the same addresses. Huge pages can lie under it, so that a fork copies one
entry for 512 pages of code and data.

Nothing may write between the copy and the exchange, so a few machine instructions outside of all
libraries do both. The new memory is readable, writable and executable: what runs in a child may
execute whatever it likes anyway, its isolation is in the kernel.
"""

import ctypes
import mmap
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from torl_env.sandbox.forkserver.kernel import X86, libc

HUGE: Final = 1 << 21
COLLAPSE: Final = 25
"""`MADV_COLLAPSE`, Linux 6.1 and later."""
_EXCHANGE: Final = bytes.fromhex(
    "53 4889fb"  # push rbx; rbx = rows
    "488b4b10 e30f"  # copy: rcx = row.size; if rcx == 0: goto moves
    "488b33 488b7b08 f3a4"  # copy rcx bytes from row.place to row.copy
    "4883c318 ebeb"  # rbx += 24; goto copy
    "4883c318"  # moves: rbx += 24
    "488b7310 4885f6 741e"  # rsi = row.size; if rsi == 0: goto done
    "4889f2 488b7b08 4c8b03"  # rax = mremap(row.copy, rsi, rsi,
    "41ba03000000 b819000000 0f05"  # MREMAP_MAYMOVE | MREMAP_FIXED, row.place)
    "483b03 74d7 5b c3"  # if rax == row.place: goto moves; return rax
    "31c0 5b c3"  # done: return 0
)
"""For x86-64: copies the rows `{place, copy, size}` up to an empty one, moves those after it."""
_LINE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ (\d+) *(.*)")
_READ_WRITE_EXECUTE: Final = 7
_ENTRIES: Final = 64
"""Of a page table, which a fork copies in the time of one mapping."""
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of a `maps` file."""

    start: int
    end: int
    mode: str
    file: bool
    name: str

    @property
    def private(self) -> bool:
        """Memory of this process alone that has no meaning to the kernel."""
        return self.mode[0] == "r" and self.mode[3] == "p" and not self.name.startswith("[")


def mappings_of(maps: str) -> list[Mapping]:
    """The mappings in the text of a `maps` file, lowest first."""
    matches = [match for line in maps.splitlines() if (match := _LINE.fullmatch(line))]
    return [
        Mapping(int(match[1], 16), int(match[2], 16), match[3], match[4] != "0", match[5])
        for match in matches
    ]


@dataclass(slots=True)
class Span:
    """Where libraries lie close together, with the anonymous memory between them."""

    start: int
    end: int
    pieces: list[Mapping] = field(default_factory=list)
    """What is there now."""

    def widen(self, floor: int, ceiling: int) -> None:
        """Reach out to whole huge pages, but no further than `floor` and `ceiling`."""
        if self.end - self.start >= HUGE:
            start, end = self.start & -HUGE, (self.end + HUGE - 1) & -HUGE
            self.start = start if start >= floor else self.start
            self.end = end if end <= ceiling else self.end


def spans_of(maps: str, wall: int = 0) -> list[Span]:
    r"""Where to gather, from the text of a `maps` file.

    Args:
        maps: The text.
        wall: Start of a mapping that stays as it is.

    >>> [span] = spans_of(
    ...     "1000-3000 r-xp 00000000 fe:00 7   /lib/a.so\n"
    ...     "3000-4000 ---p 00002000 fe:00 7   /lib/a.so\n"
    ...     "5000-6000 rw-p 00000000 00:00 0 \n"
    ...     "8000-9000 rw-p 00000000 00:00 0   [heap]\n"
    ...     "9000-a000 rw-p 00000000 00:00 0 \n"
    ... )
    >>> hex(span.start), hex(span.end), len(span.pieces)
    ('0x1000', '0x6000', 2)
    """
    spans: list[Span] = []
    boundaries = [0, sys.maxsize]
    joined = False
    for mapping in mappings_of(maps):
        if mapping.mode == "---p" and mapping.file:
            # Nothing lies in the padding between the parts of a library.
            continue
        movable = mapping.private and mapping.start != wall
        joined = joined and movable
        if not movable:
            boundaries += [mapping.start, mapping.end]
            continue
        if not joined or mapping.start - spans[-1].end > 2 * HUGE:
            spans.append(Span(mapping.start, mapping.end))
        joined = True
        spans[-1].end = mapping.end
        spans[-1].pieces.append(mapping)
    for span in spans:
        floor = max(edge for edge in boundaries if edge <= span.start)
        span.widen(floor, min(edge for edge in boundaries if edge >= span.end))
    return [span for span in spans if any(piece.file for piece in span.pieces)]


def _anonymous(size: int) -> int:
    function = libc.mmap
    function.restype = ctypes.c_void_p
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = function(
        None, ctypes.c_size_t(size), _READ_WRITE_EXECUTE, flags, -1, ctypes.c_long(0)
    )
    if address is None or address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


def collapse(start: int, end: int) -> int:
    """Put huge pages under the memory from `start` to `end`; their number."""
    pages = range((start + HUGE - 1) & -HUGE, end & -HUGE, HUGE)
    size = ctypes.c_size_t(HUGE)
    return sum(libc.madvise(ctypes.c_void_p(page), size, COLLAPSE) == 0 for page in pages)


def huge_pages(maps: str) -> int:
    """Put 2 MB pages under all memory that a program may write; their number."""
    return sum(
        collapse(mapping.start, mapping.end)
        for mapping in mappings_of(maps)
        if mapping.mode.startswith("rw")
        and mapping.mode.endswith("p")
        and not mapping.file
        and (not mapping.name or mapping.name == "[heap]" or mapping.name.startswith("[anon"))
    )


def gather(maps: Callable[[], str]) -> int:
    """Gather the libraries of this process, which must have one thread.

    Nothing is done on other processors than x86-64, and where the kernel has too few huge pages to
    give: without them a fork would copy the entries of all the memory that was file before.

    Args:
        maps: Reads `/proc/self/maps`.

    Returns:
        The number of spans.
    """
    if not X86:
        return 0
    size = _room(spans_of(maps()))
    try:
        block = _anonymous(size)
    except OSError:
        return 0
    for _ in range(_ATTEMPTS):
        seen = maps()
        spans = spans_of(seen, block)
        copies = list(_places(spans, block + HUGE))
        rows = _rows(spans, copies)
        ready = _room(spans) <= size and _prepare(spans, copies)
        # Making all this may itself have mapped something where a gap was.
        if not ready or maps() == seen:
            break
    else:
        ready = False
    if not ready:
        _unmap(block, block + size)
        return 0
    _exchange(block, rows)
    kept = block
    for span, copy in zip(spans, copies, strict=True):
        _unmap(kept, copy)
        kept = copy + span.end - span.start
    _unmap(kept, block + size)
    return len(spans)


def _room(spans: Iterable[Span]) -> int:
    """Bytes of a block that holds the machine code and, wherever it lies, all copies."""
    return HUGE + sum(span.end - span.start + 2 * HUGE for span in spans)


def _places(spans: Iterable[Span], free: int) -> Iterator[int]:
    """Where in a block the copy of each span goes: to where the kernel can move huge pages from."""
    for span in spans:
        copy = ((free + HUGE - 1) & -HUGE) + span.start % HUGE
        yield copy
        free = copy + span.end - span.start


def _prepare(spans: Sequence[Span], copies: Sequence[int]) -> bool:
    """Put huge pages under the copies; whether there are enough of them for a fork to gain."""
    wanted = pages = mappings = 0
    for span, copy in zip(spans, copies, strict=True):
        end = copy + span.end - span.start
        for page in range((copy + HUGE - 1) & -HUGE, end - HUGE + 1, HUGE):
            ctypes.memset(page, 0, 1)
            wanted += 1
        pages += collapse(copy, end)
        mappings += len(span.pieces) - 1
    return worth_it(wanted - pages, mappings)


def worth_it(missing: int, mappings: int) -> bool:
    """Whether a fork copies less without so many mappings, but `missing` huge pages are small ones.

    >>> worth_it(missing=0, mappings=1), worth_it(4, mappings=32), worth_it(4, mappings=31)
    (True, True, False)
    """
    return missing * (HUGE // mmap.PAGESIZE) <= _ENTRIES * mappings


def _rows(spans: Sequence[Span], copies: Sequence[int]) -> ctypes.Array[ctypes.c_long]:
    """What `_EXCHANGE` is to do."""
    none, fills, moves = (0, 0, 0), [], []
    for span, copy in zip(spans, copies, strict=True):
        moves.append((span.start, copy, span.end - span.start))
        for piece in span.pieces:
            fills.append((piece.start, copy + piece.start - span.start, piece.end - piece.start))
    numbers = [number for row in (*fills, none, *moves, none) for number in row]
    return (ctypes.c_long * len(numbers))(*numbers)


def _exchange(code: int, rows: ctypes.Array[ctypes.c_long]) -> None:
    ctypes.memmove(code, _EXCHANGE, len(_EXCHANGE))
    # This way of calling keeps the interpreter lock.
    ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(code)(ctypes.addressof(rows))


def _unmap(start: int, end: int) -> None:
    if end > start:
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(end - start))
