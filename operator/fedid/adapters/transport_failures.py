"""Why there was no answer, in a sentence that says what to do: a pure table over aiohttp's and ssl's exceptions."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

import aiohttp


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of "no answer"."""

    sentence: str
    """May be published; `{origin}`, `{backend}` and `{why}` are filled in by `failure_of`."""
    kind: str
    """For metrics: `refused`, `timeout`, `certificate`, `tls`, `dns`, `lost`."""
    sent: bool
    """The request may have been sent, so its effect is unknown."""
    reason: str | None = None


# From the special to the general: the first class that matches tells the story.
_FAILURES: Final[tuple[tuple[type[BaseException], Failure], ...]] = (
    (
        aiohttp.ClientConnectorCertificateError,
        Failure(
            "the certificate of {origin} is not accepted ({why}): set caBundle of {backend} to the CA that issued it, "
            "or correct the host of the URL",
            "certificate",
            sent=False,
            reason="CertificateInvalid",
        ),
    ),
    (
        aiohttp.ClientConnectorSSLError,
        Failure(
            "no TLS with {origin}: does that port speak plain http? Check the scheme of {backend}'s URL",
            "tls",
            sent=False,
        ),
    ),
    (
        aiohttp.ClientConnectorDNSError,
        Failure(
            "the host of {origin} cannot be resolved: check the URL of {backend} and the cluster's DNS",
            "dns",
            sent=False,
        ),
    ),
    (
        aiohttp.ConnectionTimeoutError,
        Failure(
            "connecting to {origin} timed out: check the URL of {backend} and the network policies",
            "timeout",
            sent=False,
        ),
    ),
    (
        aiohttp.ClientConnectorError,
        Failure("cannot connect to {origin} ({why}): is {backend} listening there?", "refused", sent=False),
    ),
    (
        TimeoutError,
        Failure("{backend} at {origin} did not answer in time: check its health and its load", "timeout", sent=True),
    ),
    (
        aiohttp.ClientResponseError,
        Failure("{origin} does not speak HTTP as expected: does {backend}'s URL need https?", "lost", sent=True),
    ),
    (
        Exception,
        Failure(
            "the connection to {backend} at {origin} broke before the answer: check what lies in between",
            "lost",
            sent=True,
        ),
    ),
)


def failure_of(error: Exception, origin: str, backend: str) -> Failure:
    """Return what happened and what to do about it.

    Args:
        error: What aiohttp raised.
        origin: `host:port` of the backend.
        backend: Its name.
    """
    known = next(known for kind, known in _FAILURES if isinstance(error, kind))
    sentence = known.sentence.format(origin=origin, backend=backend, why=_why(error))
    return Failure(sentence, known.kind, sent=known.sent, reason=known.reason)


def _why(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as cause):
            return cause.verify_message
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "connection refused"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or "no route"
        case _:
            return "not trusted"
