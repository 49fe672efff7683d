"""Sandbox Fusion's `files` and `fetch_files` for programs that have no writable file system.

Files are kept in the memory of the program itself and shown through `open`, `os` and `pathlib`, as
Python's own functions see them; a C library that opens a path by itself does not find them. What is
fetched follows the program's output behind a mark that it is not told: they are its own words
either way. Nothing is fetched from a program that was killed.
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
"""Of all files of a program together."""
_FETCHED_BYTES: Final = 6 << 20
"""The same in base64, with names."""
_HOME: Final = "/sandbox"

_PROGRAM: Final = """
def __torl_main__(source, sent, fetch, mark, room):
    import base64, builtins, errno, gc, io, linecache, os, posixpath, stat, sys, traceback
    held = {path: base64.b64decode(data) for path, data in sent.items()}
    write, fetched = os.write, base64.b64encode
    place = lambda path: posixpath.normpath(posixpath.join("/sandbox", os.fspath(path)))
    real = {name: getattr(os, name) for name in ("stat", "lstat", "listdir", "mkdir", "unlink")}
    real_open = builtins.open
    folders = {"/sandbox"}

    def note(path):
        while path not in folders and path != "/":
            path = posixpath.dirname(path)
            folders.add(path)

    class File(io.BytesIO):
        def __init__(self, path, mode):
            self.name, self._keep = path, "r" not in mode or "+" in mode
            super().__init__(b"" if "w" in mode or "x" in mode else held.get(path, b""))
            self._add = "a" in mode
            self.seek(0, 2 if self._add else 0)
            self.flush()

        def write(self, data):
            if not self._keep:
                raise io.UnsupportedOperation("not writable")
            if self._add:
                self.seek(0, 2)
            others = sum(len(value) for path, value in held.items() if path != self.name)
            if others + len(self.getbuffer()) + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device", self.name)
            return super().write(data)

        def readable(self):
            return True

        def flush(self):
            if self._keep and not self.closed:
                held[self.name] = self.getvalue()

        def close(self):
            self.flush()
            super().close()

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True,
               opener=None):
        plain = (file, mode, buffering, encoding, errors, newline, closefd, opener)
        if isinstance(file, int):
            return real_open(*plain)
        path = place(file)
        if path not in held:
            inside = path.startswith("/sandbox/") or path.startswith("/tmp/")
            if "r" in mode or not inside:
                return real_open(*plain)
            note(path)
        elif "x" in mode:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        made = File(path, mode)
        if "b" in mode:
            return made
        return io.TextIOWrapper(made, encoding or "utf-8", errors, newline, write_through=True)

    def looked(name):
        def look(path, *rest, **more):
            known = None if isinstance(path, int) else place(path)
            if known in held:
                kind, size = stat.S_IFREG | 0o644, len(held[known])
            elif known in folders:
                kind, size = stat.S_IFDIR | 0o755, 0
            else:
                return real[name](path, *rest, **more)
            return os.stat_result((kind, 0, 0, 1, 0, 0, size, 0, 0, 0))
        return look

    def listed(path="."):
        known = place(path)
        if known not in folders:
            return real["listdir"](path)
        inside = [item for item in (*held, *folders) if item.startswith(known.rstrip("/") + "/")]
        return sorted({item[len(known.rstrip("/")) + 1:].split("/")[0] for item in inside})

    def made(path, *rest, **more):
        known = place(path)
        if not known.startswith("/sandbox/") and not known.startswith("/tmp/"):
            return real["mkdir"](path, *rest, **more)
        if known in folders or known in held:
            raise FileExistsError(errno.EEXIST, "File exists", known)
        folders.add(known)

    def removed(path, *rest, **more):
        if held.pop(place(path), None) is None:
            real["unlink"](path, *rest, **more)

    def moved(old, new, *rest, **more):
        if place(old) not in held:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", old)
        held[place(new)] = held.pop(place(old))
        note(place(new))

    for path in held:
        note(path)
    builtins.open = io.open = opened
    if "numpy.lib._datasource" in sys.modules:
        # It was loaded before and has taken the old one.
        sys.modules["numpy.lib._datasource"]._file_openers._file_openers[None] = opened
    os.stat, os.lstat, os.listdir, os.mkdir = looked("stat"), looked("lstat"), listed, made
    os.unlink = os.remove = removed
    os.rename = os.replace = moved
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
        gc.collect()
        sys.stdout.flush()
        for path in fetch:
            if place(path) in held:
                line = b"\\n" + mark + path.encode("utf-8", "replace") + b"\\0"
                data = line + fetched(held[place(path)])
                while data:
                    data = data[write(1, data):]
"""


@dataclass(frozen=True, slots=True)
class Files:
    """What a request sends, by absolute path, and the names it wants back."""

    sent: dict[str, str]
    """Base64."""
    fetch: tuple[str, ...]
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
