"""A small HTTP server: a few bounded connections in one thread, none of which can hold up the rest.

The standard library's own server takes a thread or the whole process for each slow client, and several times the memory
of all the rest.

Source: RFC 9112 section 2 (message format); one request per connection, no body read.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

__all__ = ["Answers", "listening_socket"]

_MOST_CONNECTIONS = 16
_LONGEST_REQUEST = 4096
"""Bytes of request line and headers."""
_PATIENCE_SECONDS = 2.0
"""For one connection, from its first byte to its last."""
_END = b"\r\n\r\n"
_TEXTS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens; an empty host means every address of both families.

    Raises:
        OSError: The address cannot be had.
    """
    if host or not socket.has_dualstack_ipv6():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)


@dataclass(slots=True)
class _Connection:
    stream: socket.socket
    ends_at: float
    request: bytes = b""
    answer: bytes = field(default=b"")


class Answers:
    """Answers GET requests from a table of paths."""

    def __init__(self, listener: socket.socket, pages: Mapping[str, Callable[[], tuple[str, str]]]) -> None:
        """Serve on a socket that listens already.

        Args:
            listener: Closed by nobody but its owner.
            pages: Path to what makes its content type and body.
        """
        self._listener, self._pages = listener, pages
        self._connections: dict[int, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def serve(self, seconds: float) -> None:
        """Serve for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if key.fileobj is self._listener:
                    self._accept()
                elif (connection := self._connections.get(key.fd)) is not None:
                    self._go_on(connection)
            now = time.monotonic()
            for connection in [one for one in self._connections.values() if one.ends_at < now]:
                self._close(connection)

    def _accept(self) -> None:
        with suppress(OSError):  # he hung up already, or there are no descriptors left
            stream, _ = self._listener.accept()
            stream.setblocking(False)
            if len(self._connections) >= _MOST_CONNECTIONS:
                self._close(min(self._connections.values(), key=lambda one: one.ends_at))
            self._connections[stream.fileno()] = _Connection(stream, time.monotonic() + _PATIENCE_SECONDS)
            self._selector.register(stream, selectors.EVENT_READ)

    def _go_on(self, connection: _Connection) -> None:
        try:
            if not connection.answer:
                self._read(connection)
            if connection.answer:
                sent = connection.stream.send(connection.answer)
                connection.answer = connection.answer[sent:]
                if connection.answer:
                    self._selector.modify(connection.stream, selectors.EVENT_WRITE)
                    return
                self._close(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        piece = connection.stream.recv(_LONGEST_REQUEST)
        connection.request += piece
        if not piece:
            self._close(connection)
        elif _END in connection.request:
            connection.answer = self._answer(connection.request)
        elif len(connection.request) > _LONGEST_REQUEST:
            connection.answer = _response(400)

    def _answer(self, request: bytes) -> bytes:
        words = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version
            return _response(400)
        page = self._pages.get(words[1].partition("?")[0])
        if page is None:
            return _response(404)
        return _response(200, *page()) if words[0] == "GET" else _response(405)

    def _close(self, connection: _Connection) -> None:
        if self._connections.pop(connection.stream.fileno(), None) is not None:
            self._selector.unregister(connection.stream)
        connection.stream.close()


def _response(status: int, content_type: str = "text/plain", text: str | None = None) -> bytes:
    body = (f"{_TEXTS[status]}\n" if text is None else text).encode()
    lines = [f"HTTP/1.1 {status} {_TEXTS[status]}", f"Content-Type: {content_type}; charset=utf-8"]
    lines += [f"Content-Length: {len(body)}", "Cache-Control: no-store", "Connection: close"]
    return "\r\n".join(lines).encode() + _END + body
