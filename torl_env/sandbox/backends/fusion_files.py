"""Sandbox Fusion's `files` and `fetch_files`, in the place that each program has for its files.

What is fetched follows the program's output between marks that it is not told: these are its own
words either way. Nothing is fetched from a program that was killed.
"""

import base64
import binascii
import posixpath
import re
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from torl_env.sandbox.backends import fusion_wire as wire
from torl_env.sandbox.results import shorten_bytes
from torl_env.sandbox.types import Execution, Limits

MOST_BYTES: Final = 4 << 20
"""Of all files that are sent, and of all that are fetched."""
_MOST_FILES: Final = 256
_MOST_DIRECTORIES: Final = 512
_NAME_BYTES: Final = 255
_PATH_BYTES: Final = 2048
_FETCHED_BYTES: Final = 6 << 20
"""`MOST_BYTES` in base64, with names."""
_HOME: Final = "/sandbox"

_PROGRAM: Final = """
def __torl_main__(source, sent, fetch, mark, room):
    import atexit, base64, gc, io, linecache, os, sys, threading, traceback
    real_open, write, encode, base = open, os.write, base64.b64encode, io.IOBase
    for path, data in sent.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
    lines = io.StringIO(source + "\\n", newline=None).readlines()
    linecache.cache[__file__] = (len(source), None, lines, __file__)
    del globals()["__torl_main__"]
    try:
        exec(compile(source, __file__, "exec", dont_inherit=True), globals())
    except BaseException as error:
        frames = error.__traceback__.tb_next
        if sys.excepthook is sys.__excepthook__:
            # Without the frames of this function, in whose call all the files stand.
            sys.excepthook = lambda kind, value, _: traceback.print_exception(kind, value, frames)
        raise
    finally:
        try:
            # All of it writes: threads, functions for the end, what is open then.
            threading._shutdown()
            atexit._run_exitfuncs()
            for item in [item for item in gc.get_objects() if isinstance(item, base)]:
                if not item.closed and item.writable():
                    item.flush()
        finally:
            for path in fetch:
                try:
                    with real_open(path, "rb") as file:
                        data = file.read(room + 1)
                except (OSError, ValueError):
                    continue
                room -= len(data)
                if room < 0:
                    break
                data = b"".join((
                    b"\\n", mark, b"<", path.encode(), b"\\0", encode(data), b"\\n", mark, b">"
                ))
                while data:
                    data = data[write(1, data):]
"""


@dataclass(frozen=True, slots=True)
class Files:
    """What a request sends, by absolute path, and the names it wants back."""

    sent: dict[str, str]
    """Base64."""
    fetch: tuple[str, ...]
    """As the client names them; relative ones lie in the program's own directory."""
    mark: str

    def program(self, source: str) -> str:
        """The program that runs `source` among these files."""
        arguments = (
            source.removeprefix("\ufeff"),
            self.sent,
            self.fetch,
            self.mark.encode(),
            MOST_BYTES,
        )
        return f"{_PROGRAM}\n__torl_main__(*{arguments!r})\n"

    def limits(self, limits: Limits) -> Limits:
        """Room for the files behind the output."""
        return replace(limits, output_bytes=limits.output_bytes + _FETCHED_BYTES)

    def split(self, result: Execution, limits: Limits) -> tuple[Execution, dict[str, str]]:
        """The execution as its program left it, and the fetched files in base64."""
        parts = re.split(f"\n{self.mark}<([^\0]*)\0([^\n]*)\n{self.mark}>", result.stdout)
        # Of a file that was cut nothing is output.
        text = "".join(parts[::3]).partition(f"\n{self.mark}")[0]
        stdout, cut = shorten_bytes(text.encode("utf-8", "surrogatepass"), limits.output_bytes)
        found = dict(zip(parts[1::3], parts[2::3], strict=True))
        truncated = result.output_truncated or cut
        return replace(result, stdout=stdout, output_truncated=truncated), found


def read_files(data: dict[str, Any]) -> Files | None:
    """The files of a request, `None` where it has none.

    Raises:
        wire.InvalidRequestError: They are of a wrong form, too large, or lie outside.
    """
    sent, fetch = data.get("files") or {}, data.get("fetch_files") or []
    if not sent and not fetch:
        return None
    if not isinstance(sent, dict):
        raise _invalid("files", "Input should be a valid dictionary", None)
    if not isinstance(fetch, list) or not all(isinstance(path, str) for path in fetch):
        raise _invalid("fetch_files", "Input should be a list of valid strings", None)
    if len(sent) + len(fetch) > _MOST_FILES:
        raise _invalid("files", f"at most {_MOST_FILES} files are taken", len(sent) + len(fetch))
    held: dict[str, str] = {}
    total = 0
    for path in (*sent, *fetch):
        _check_name(path)
    for path, text in sent.items():
        place = posixpath.normpath(posixpath.join(_HOME, path))
        if not place.startswith((f"{_HOME}/", "/tmp/")):
            raise _invalid("files", "a file lies in the program's own directory or in /tmp", path)
        try:
            total += len(base64.b64decode(text or "", validate=True))
        except (binascii.Error, TypeError, ValueError) as error:
            raise _invalid("files", f"expected base64 ({error})", path) from error
        held[place] = text or ""
    _check_directories(held)
    if total > MOST_BYTES:
        raise _invalid("files", f"{total} bytes of files; at most {MOST_BYTES} are taken", None)
    return Files(held, tuple(fetch), secrets.token_hex(16))


def _check_name(path: str) -> None:
    """What no file can be called is the client's fault, not the program's."""
    try:
        name = path.encode()
    except UnicodeEncodeError as error:
        raise _invalid("files", f"no name of a file: {error.reason}", ascii(path)) from error
    longest = max(map(len, name.split(b"/")))
    if b"\0" in name or longest > _NAME_BYTES or len(name) > _PATH_BYTES:
        raise _invalid("files", "no name of a file: it holds a null or is too long", path)


def _check_directories(files: Collection[str]) -> None:
    directories = {above for place in files for above in _above(place)}
    if inside := directories.intersection(files):
        raise _invalid("files", "a file cannot have files in it", min(inside))
    if len(directories) > _MOST_DIRECTORIES:
        raise _invalid("files", f"at most {_MOST_DIRECTORIES} directories are made", None)


def _above(place: str) -> Iterator[str]:
    """The directories that a file lies in."""
    while (place := posixpath.dirname(place)) != "/":
        yield place


def _invalid(place: str, message: str, given: object) -> wire.InvalidRequestError:
    return wire.InvalidRequestError("value_error", [place], message, given)


def read_run(body: bytes, default: Limits, most: Limits) -> tuple[wire.RunRequest, Files | None]:
    """A request to `/run_code`.

    Raises:
        wire.InvalidRequestError: See `wire.read_request` and `read_files`.
    """
    data = wire.read_object(body)
    return wire.read_request(data, default, most), read_files(data)
