"""How the proxy passes requests and answers on: headers, TLS, answers that never end."""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection, which a proxy never passes on (RFC 9110 section 7.6.1)."""

MADE_ANEW = frozenset({"host", "content-length"})
"""Request headers that the client side sets for the server behind."""

ALL_AUTO_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that aiohttp would add; the server must see what the client sent."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The proxy's TLS on either side; None for plain HTTP."""

    authority: Path | None = None
    """Verifies the server behind the proxy (PEM)."""
    certificate: Path | None = None
    """Shown to clients (PEM)."""
    key: Path | None = None
    """Of the certificate (PEM)."""

    def to_server(self) -> ssl.SSLContext | bool:
        """Return how the server behind is verified."""
        return ssl.create_default_context(cafile=self.authority) if self.authority else True

    def to_client(self) -> ssl.SSLContext | None:
        """Return what clients are served with."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def without(headers: CIMultiDictProxy[str], names: frozenset[str]) -> CIMultiDict[str]:
    """Return the headers but those; repeated ones stay repeated."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in names)


async def pass_back(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, heard: bytearray | None = None
) -> web.StreamResponse:
    """Give the client the answer as it comes, piece by piece: watches never end.

    Args:
        request: Whose.
        answer: Of the server behind.
        heard: Grows with every piece, unless None.
    """
    response = web.StreamResponse(
        status=answer.status,
        reason=answer.reason,
        headers=without(answer.headers, HOP_BY_HOP),
    )
    try:
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            if heard is not None:
                heard += piece
            await response.write(piece)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionError):
        # One side is gone in the middle of the answer: the other side must notice.
        if request.transport is not None:
            request.transport.abort()
    return response


async def truncate(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Give the client the first half of an answer, and drop the connection; what is returned goes nowhere.

    Of an answer without a body, the first half of the status line.
    """
    body = await answer.read()
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    if not body:
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 2")
            request.transport.close()
        return response
    response.headers.extend(without(answer.headers, HOP_BY_HOP))
    response.content_length = len(body)
    with suppress(aiohttp.ClientError, ConnectionError):
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
