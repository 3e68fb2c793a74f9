"""Small servers on the loopback that answer, refuse, hang or break off as a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def web_server(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Yield the base URL of a server that hands every request to `handle`."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if tls else 'http'}://{LOOPBACK}:{port}"
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class RawServer:
    """A server that speaks bytes."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    """First line of each request, in order."""


@asynccontextmanager
async def raw_server(answers: Callable[[int], bytes | None]) -> AsyncIterator[RawServer]:
    """Yield a server that answers request number n (from 0, over all connections) with `answers(n)`.

    None breaks the connection off without an answer, one that says `Connection: close` after it.
    """
    served = RawServer("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                served.requests.append(head.split(b"\r\n")[0])
                answer = answers(len(served.requests) - 1)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"Connection: close" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    served.url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()


def self_signed(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return a server's TLS context for the loopback, and the PEM that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(secret + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, pem.decode()
