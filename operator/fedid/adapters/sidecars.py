"""The sidecars of tenants' pods, asked over HTTP.

A pod's address and port are its owner's word, and so is the answer. Hence one fixed path, no redirect, no cookie, no
proxy, no credential, a short time, a short answer, and nothing of it in any message.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from fedid.domain.pods import Pod
from fedid.domain.reload_report import LOADED_PATH, Loaded, loaded_from
from fedid.errors import BackendRejectedError, BackendUnavailableError

__all__ = ["PodSidecars", "is_no_pod_address"]

BACKEND: Final = "sidecar"
CONNECTIONS: Final = 16
CONNECT_SECONDS: Final = 2.0
TOTAL_SECONDS: Final = 4.0
LONGEST_ANSWER: Final = 1024
"""Bytes; a report has about a hundred."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_no_pod_address(address: Address) -> bool:
    """Tell whether no pod can have the address: ourselves, the metadata services of clouds, everybody at once."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified)


class PodSidecars:
    """`Sidecars` over one small pool."""

    def __init__(self, *, is_refused: Callable[[Address], bool] = is_no_pod_address) -> None:
        """Prepare; nothing connects before the first question.

        Args:
            is_refused: Addresses that are never asked.
        """
        self._is_refused = is_refused
        self._session: aiohttp.ClientSession | None = None

    async def loaded(self, pod: Pod) -> Loaded:
        """Ask the sidecar of a pod.

        Raises:
            BackendUnavailableError: No answer in time.
            BackendRejectedError: What answers there is no sidecar of ours, or the address is none that a pod has.
        """
        url = self._url(pod)
        try:
            async with self._open().get(url, allow_redirects=False) as response:
                body = await response.content.read(LONGEST_ANSWER + 1)
                while len(body) <= LONGEST_ANSWER and (more := await response.content.read(LONGEST_ANSWER)):
                    body += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = (
                f"does not answer at port {pod.reload_port}: its sidecar does not run, or a NetworkPolicy is in the way"
            )
            raise BackendUnavailableError(message, backend=BACKEND) from error
        found = _report(body) if response.status == HTTPStatus.OK and len(body) <= LONGEST_ANSWER else None
        if found is None:
            message = (
                f"answers at port {pod.reload_port} with what no sidecar of fedid says: another program has the port"
            )
            raise BackendRejectedError(message, backend=BACKEND)
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _url(self, pod: Pod) -> URL:
        try:
            address = ipaddress.ip_address(pod.ip or "")
        except ValueError:
            address = None
        if address is None or pod.reload_port is None or self._is_refused(address):
            message = "has an address that no pod has; nobody is asked there"
            raise BackendRejectedError(message, backend=BACKEND)
        return URL.build(scheme="http", host=str(address), port=pod.reload_port, path=LOADED_PATH)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, force_close=True),
                timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session


def _report(body: bytes) -> Loaded | None:
    try:
        return loaded_from(json.loads(body))
    except (ValueError, RecursionError):
        return None
