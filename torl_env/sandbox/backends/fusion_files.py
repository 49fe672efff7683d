"""Sandbox Fusion's `files` and `fetch_files`, in the place that each program has for its files.

What is fetched follows the program's output behind a mark that it is not told: these are its own
words either way. Nothing is fetched from a program that was killed.
"""

import base64
import binascii
import posixpath
import secrets
from dataclasses import dataclass, replace
from typing import Any, Final

from torl_env.sandbox.backends import fusion_wire as wire
from torl_env.sandbox.results import shorten_bytes
from torl_env.sandbox.types import Execution, Limits

MOST_BYTES: Final = 4 << 20
"""Of all files that are sent, and of all that are fetched."""
_MOST_FILES: Final = 256
_FETCHED_BYTES: Final = 6 << 20
"""`MOST_BYTES` in base64, with names."""
_HOME: Final = "/sandbox"

_PROGRAM: Final = """
def __torl_main__(source, sent, fetch, mark, room):
    import base64, gc, io, linecache, os, sys, traceback
    real_open, write, encode, base = open, os.write, base64.b64encode, io.IOBase
    for path, data in sent.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
    linecache.cache[__file__] = (len(source), None, source.splitlines(True), __file__)
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
        # What is open would be written when the interpreter ends.
        for item in [item for item in gc.get_objects() if isinstance(item, base)]:
            if not item.closed and item.writable():
                item.flush()
        for path in fetch:
            try:
                with real_open(path, "rb") as file:
                    data = file.read(room + 1)
            except OSError:
                continue
            room -= len(data)
            if room < 0:
                break
            data = b"\\n" + mark + path.encode("utf-8", "replace") + b"\\0" + encode(data)
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
        arguments = (source, self.sent, self.fetch, self.mark.encode(), MOST_BYTES)
        return f"{_PROGRAM}\n__torl_main__(*{arguments!r})\n"

    def limits(self, limits: Limits) -> Limits:
        """Room for the files behind the output."""
        return replace(limits, output_bytes=limits.output_bytes + _FETCHED_BYTES)

    def split(self, result: Execution, limits: Limits) -> tuple[Execution, dict[str, str]]:
        """The execution as its program left it, and the fetched files in base64."""
        text, *parts = result.stdout.split(f"\n{self.mark}")
        stdout, cut = shorten_bytes(text.encode("utf-8", "surrogatepass"), limits.output_bytes)
        found = dict(part.split("\0", 1) for part in parts if "\0" in part)
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
    for path, text in sent.items():
        place = posixpath.normpath(posixpath.join(_HOME, path))
        if not place.startswith((f"{_HOME}/", "/tmp/")):
            raise _invalid("files", "a file lies in the program's own directory or in /tmp", path)
        try:
            total += len(base64.b64decode(text or "", validate=True))
        except (binascii.Error, TypeError, ValueError) as error:
            raise _invalid("files", f"expected base64 ({error})", path) from error
        held[place] = text or ""
    if total > MOST_BYTES:
        raise _invalid("files", f"{total} bytes of files; at most {MOST_BYTES} are taken", None)
    return Files(held, tuple(fetch), secrets.token_hex(16))


def _invalid(place: str, message: str, given: object) -> wire.InvalidRequestError:
    return wire.InvalidRequestError("value_error", [place], message, given)


def read_run(body: bytes, default: Limits, most: Limits) -> tuple[wire.RunRequest, Files | None]:
    """A request to `/run_code`.

    Raises:
        wire.InvalidRequestError: See `wire.read_request` and `read_files`.
    """
    data = wire.read_object(body)
    return wire.read_request(data, default, most), read_files(data)
