"""What the operator shows to the API server, put on each request right before it is sent.

A projected token is replaced about hourly and an exec plugin's whenever it likes, so no header is set when a session is
made. As a middleware of the session it also covers what kopf sends through it.

Source: https://docs.aiohttp.org/en/stable/client_middleware_cookbook.html
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from aiohttp import hdrs

from fedid.domain.sensitive import Sensitive

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
    from yarl import URL

_log = logging.getLogger(__name__)


class Credential(Protocol):
    """Where the Authorization header comes from."""

    async def header(self) -> Sensitive | None:
        """Return the header's value as of now, None for none (client certificate)."""


class FixedCredential:
    """A token or a password that stands in the kubeconfig; or nothing."""

    def __init__(self, value: Sensitive | None) -> None:
        """Keep the header's whole value, its scheme included."""
        self._value = value

    async def header(self) -> Sensitive | None:
        """Return it."""
        return self._value


class TokenFile:
    """A token that somebody else keeps fresh in a file: kubelet, or a person's helper."""

    def __init__(self, path: Path) -> None:
        """Read the file once, so that a wrong path shows at once.

        Raises:
            OSError: It cannot be read.
        """
        self._path = path
        self._last = self._read()

    async def header(self) -> Sensitive | None:
        """Return the file's token as it is now, or the last one while the file cannot be read."""
        try:
            self._last = self._read()
        except OSError as error:
            _log.warning("cannot read %s (%s); going on with the token read before", self._path, error.strerror)
        return self._last

    def _read(self) -> Sensitive:
        # A read from a tmpfs takes some 20 microseconds; a thread to wait for it in would take longer.
        return Sensitive(f"Bearer {self._path.read_text(encoding='ascii').strip()}")


class Authorisation:
    """The session's middleware: adds the credential, to requests to the API server only."""

    def __init__(
        self, credential: Credential, origin: URL, server_hostname: str | None, home: asyncio.AbstractEventLoop
    ) -> None:
        """Prepare.

        Args:
            credential: Asked for each request.
            origin: Scheme, host and port of the API server: a redirect elsewhere must not carry the credential along.
            server_hostname: What the server's certificate must be for (`tls-server-name`); None: the host.
            home: The loop in which the credential is asked, whichever loop sends the request.
        """
        self._credential = credential
        self._origin = origin
        self._server_hostname = server_hostname
        self._home = home

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request with the credential."""
        if request.url.origin() == self._origin:
            if (value := await self._header()) is not None:
                request.headers[hdrs.AUTHORIZATION] = value.reveal()
            if self._server_hostname is not None:
                request.server_hostname = self._server_hostname
        return await handler(request)

    async def _header(self) -> Sensitive | None:
        if asyncio.get_running_loop() is self._home:
            return await self._credential.header()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._credential.header(), self._home))
