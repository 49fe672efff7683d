"""As much of RFC 6455 as a text protocol needs: handshake, frames, fragments, ping, close."""

import base64
import hashlib
import os
import struct
from collections.abc import Mapping
from typing import Protocol

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x8, 0x9, 0xA


class Reader(Protocol):
    """A blocking stream to read from."""

    def read(self, size: int, /) -> bytes:
        """Read `size` bytes, fewer only at the end."""
        ...


class Writer(Protocol):
    """A blocking stream to write to."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""
        ...

    def flush(self) -> None:
        """Send what is buffered."""
        ...


class ProtocolError(Exception):
    """The peer broke the protocol; `code` is the status to close with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def accept(key: str) -> str:
    """The answer to a `Sec-WebSocket-Key`.

    Example:
        >>> accept("dGhlIHNhbXBsZSBub25jZQ==")
        's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()


def asks_for_upgrade(headers: Mapping[str, str]) -> bool:
    """Whether these request headers open a WebSocket."""
    return (
        headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("Connection", "").lower()
        and headers.get("Sec-WebSocket-Version") == "13"
        and bool(headers.get("Sec-WebSocket-Key"))
    )


class WebSocket:
    """Text messages over a stream on which the handshake is done; used from one thread.

    Args:
        reader: Blocking.
        writer: Blocking.
        client: Whether this is the client's side, which masks what it sends.
        most: Longest message to take, in bytes.
    """

    def __init__(
        self, reader: Reader, writer: Writer, *, client: bool = False, most: int = 1 << 22
    ) -> None:
        self._reader, self._writer = reader, writer
        self._client, self._most = client, most

    def send(self, text: str) -> None:
        """Send one message."""
        self._send(_TEXT, text.encode("utf-8", "surrogatepass"))

    def close(self, code: int = 1000) -> None:
        """Send a close frame; the stream is its owner's to close."""
        self._send(_CLOSE, struct.pack(">H", code))

    def receive(self) -> str | None:
        """The next message, `None` when the peer has closed.

        Raises:
            ProtocolError: Frames out of order, unmasked, too long, or not text.
            OSError: The stream failed or timed out.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            frame = self._frame(self._most - size)
            if frame is None:
                return None
            last, code, body = frame
            if code == _CLOSE:
                self._send(_CLOSE, body[:2])
                return None
            if code == _PING:
                self._send(_PONG, body)
            if code in (_PING, _PONG):
                continue
            if code != (_CONTINUATION if parts else _TEXT):
                raise ProtocolError(1003 if code == 0x2 else 1002, f"unexpected frame {code:#x}")
            parts.append(body)
            size += len(body)
            if last:
                return _text(b"".join(parts))

    def _frame(self, room: int) -> tuple[bool, int, bytes] | None:
        head = self._reader.read(2)
        if len(head) < 2:
            return None
        last, code = bool(head[0] & 0x80), head[0] & 0x0F
        masked, size = bool(head[1] & 0x80), head[1] & 0x7F
        if head[0] & 0x70:
            raise ProtocolError(1002, "no extension was agreed on")
        if masked is self._client:
            raise ProtocolError(1002, "a client masks its frames and a server does not")
        if code >= _CLOSE and (size > 125 or not last):
            raise ProtocolError(1002, "a control frame is short and whole")
        if size == 126:
            size = struct.unpack(">H", self._exactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._exactly(8))[0]
        if size > room and code < _CLOSE:
            raise ProtocolError(1009, f"a message is at most {self._most} bytes")
        mask = self._exactly(4) if masked else b""
        body = self._exactly(size)
        return last, code, _masked(body, mask) if masked else body

    def _exactly(self, size: int) -> bytes:
        body = self._reader.read(size)
        if len(body) < size:
            raise ProtocolError(1002, "the stream ended in the middle of a frame")
        return body

    def _send(self, code: int, body: bytes) -> None:
        size, flag = len(body), 0x80 if self._client else 0
        head = bytes([0x80 | code])
        if size < 126:
            head += bytes([flag | size])
        elif size < 1 << 16:
            head += struct.pack(">BH", flag | 126, size)
        else:
            head += struct.pack(">BQ", flag | 127, size)
        if self._client:
            mask = os.urandom(4)
            head, body = head + mask, _masked(body, mask)
        self._writer.write(head + body)
        self._writer.flush()


def _masked(body: bytes, mask: bytes) -> bytes:
    # One big integer is a hundred times faster than a loop over the bytes.
    size = len(body)
    stretched = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(body, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ProtocolError(1007, "a message must be UTF-8") from None
