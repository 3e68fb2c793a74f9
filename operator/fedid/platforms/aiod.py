"""The AI-on-Demand platform: the two files that `aiod` reads from `~/.aiod` when it is imported, for a bot.

Sources: `aiod/authentication/authentication.py` and `aiod/configuration/_config.py` of the wheel aiondemand 0.3.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fedid.domain.fields import Body, text, text_or_none
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, ServedIdentity
from fedid.platforms.toml_text import toml_text

__all__ = ["Aiod", "parse", "render"]

_PATH: Final = "spec.platform.aiod"
_URL: Final = re.compile(
    r"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9_.~-]+)*/?"
)
_VERSION: Final = re.compile(r"v[0-9]{1,3}")
_SLOWEST: Final = 3600


@dataclass(frozen=True, slots=True)
class Aiod:
    """Options of the block."""

    api_server: str
    """Base URL with its final slash."""
    auth_server: str | None = None
    """Base URL of Keycloak with its final slash; None: that of the issuer."""
    version: str | None = None
    request_timeout_seconds: int | None = None


def parse(options: Body, path: str, role: str) -> Aiod:
    """Return the options.

    Raises:
        InvalidSpecError: A field is missing or means nothing.
    """
    if role != "client":
        message = f"{path} is for role: client; a server that checks tokens of the realm needs no more than oidcClient"
        raise InvalidSpecError(message)
    version = text_or_none(options, f"{path}.version")
    if version is not None and not _VERSION.fullmatch(version):
        message = f"{path}.version is {version[:40]!r}; write the version of the REST API, such as v2"
        raise InvalidSpecError(message)
    timeout = options.get("requestTimeoutSeconds")
    if timeout is not None and (type(timeout) is not int or not 1 <= timeout <= _SLOWEST):
        message = f"{path}.requestTimeoutSeconds must be a whole number from 1 to {_SLOWEST}"
        raise InvalidSpecError(message)
    auth_server = text_or_none(options, f"{path}.authServer")
    if auth_server is not None and "/realms" in auth_server:
        message = f"{path}.authServer is the base URL of Keycloak; leave out /realms/<realm>, which the issuer tells"
        raise InvalidSpecError(message)
    return Aiod(
        api_server=_with_slash(text(options, f"{path}.apiServer"), f"{path}.apiServer"),
        auth_server=_with_slash(auth_server, f"{path}.authServer") if auth_server is not None else None,
        version=version,
        request_timeout_seconds=timeout,
    )


def render(identity: Identity, options: Aiod) -> dict[str, Sensitive]:
    """Return `token.toml` and `config.toml`.

    Args:
        identity: The bot.
        options: The block.

    Raises:
        InvalidSpecError: The bot has no secret, or its issuer is no realm of Keycloak.
    """
    if isinstance(identity, ServedIdentity):
        message = f"{_PATH} is for role: client"
        raise InvalidSpecError(message)
    if identity.client_secret is None:
        message = (
            f"{_PATH}: aiod signs in with a client secret and knows neither private keys nor ServiceAccounts; "
            "name a bot with authentication: {clientSecret: {}}"
        )
        raise InvalidSpecError(message)
    base, between, realm = identity.issuer_url.rpartition("/realms/")
    if not (base and between and realm) or "/" in realm:
        message = f"{_PATH}: the issuer {identity.issuer_url} does not end in /realms/<realm>, which aiod puts together"
        raise InvalidSpecError(message)
    config: dict[str, str | int] = {
        "api_server": options.api_server,
        "auth_server": options.auth_server or f"{base}/",
        "realm": realm,
        "client_id": identity.client_id,
    }
    if options.version is not None:
        config["version"] = options.version
    if options.request_timeout_seconds is not None:
        config["request_timeout_seconds"] = options.request_timeout_seconds
    return {
        "token.toml": Sensitive(toml_text({"client_secret": identity.client_secret.reveal()})),
        "config.toml": Sensitive(toml_text(config)),
    }


def _with_slash(url: str, path: str) -> str:
    """Without its final slash aiod would drop the last part of the path, or run it together with what follows."""
    if not _URL.fullmatch(url):
        message = f"{path} is no base URL; write http or https, host and path, such as https://api.aiodp.eu/"
        raise InvalidSpecError(message)
    return url if url.endswith("/") else f"{url}/"
