"""Flower: how a SuperLink signs accounts in, in the form that its version reads; with Flower Enterprise.

Source: Flower documentation, "Authenticate Accounts via OpenID Connect" (1.23 to 1.33 with a file, from 1.34 on with
the environment) and "Authenticate Users via OpenID Connect" (before 1.23).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fedid.domain.acceptance import Accepts, parse_selection
from fedid.domain.fields import Body, flag, section, section_or_empty, text, text_or_none
from fedid.domain.membership import HAS_ACCESS, Membership
from fedid.domain.oidc_client import ClientNeeds, Flow
from fedid.domain.pod_identity import SERVER
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, OidcClient, ServedIdentity

__all__ = ["OpenFga", "Options", "membership", "needs", "parse", "render", "residual"]

_VERSION: Final = re.compile(r"1\.(0|[1-9][0-9]{0,2})")
_FIRST_WITH_VARIABLES: Final = 34
_FIRST_WITH_ACCOUNTS: Final = 23
_PLAIN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class OpenFga:
    """Who of those that can sign in may use the SuperLink: up to 1.33 an OpenFGA server says it."""

    url: str
    store_id: str
    model_id: str
    relation: str
    object: str
    users: Accepts | None = None
    """Which FederationUsers fedid is to let in there; None: nobody, or somebody else sees to it."""


@dataclass(frozen=True, slots=True)
class Options:
    """The block `flower.superLink`."""

    minor: int
    """Of flwr 1.<minor>."""
    verify_tls: bool
    open_fga: OpenFga | None


def parse(options: Body, path: str, role: str) -> Options:
    """Return the options.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    where = f"{path}.superLink"
    if role != SERVER:
        message = f"{where} is for role: server"
        raise InvalidSpecError(message)
    link = section(options, where)
    version = text(link, f"{where}.version")
    match = _VERSION.fullmatch(version)
    if match is None:
        message = f"{where}.version is {version[:40]!r}; write the version of flwr as 1.<minor>, such as 1.41"
        raise InvalidSpecError(message)
    minor = int(match.group(1))
    fga = _open_fga(section(link, f"{where}.openFga"), f"{where}.openFga") if link.get("openFga") is not None else None
    if minor >= _FIRST_WITH_VARIABLES and fga is not None:
        message = f"{where}.openFga is for flwr up to 1.33; from 1.34 on a SuperLink knows no OpenFGA: take it out"
        raise InvalidSpecError(message)
    if minor < _FIRST_WITH_VARIABLES and (fga is None or link.get("verifyTls") is not None):
        told = "openFga is missing" if fga is None else "verifyTls is for flwr from 1.34 on"
        message = f"{where}.{told}; up to 1.33 a SuperLink reads a file in which OpenFGA says who may use it"
        raise InvalidSpecError(message)
    return Options(minor, flag(link, f"{where}.verifyTls", default=True), fga)


def membership(spec: Body) -> Membership | None:
    """Return whom fedid is to let into a SuperLink, None if the manifest is no SuperLink's or selects nobody.

    Args:
        spec: Of a PodIdentity.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    flower = section_or_empty(section_or_empty(spec, "spec.platform"), "spec.platform.flower")
    if flower.get("superLink") is None or spec.get("role") != SERVER:
        return None
    fga = parse(flower, "spec.platform.flower", SERVER).open_fga
    bots = parse_selection(spec, "spec.accepts", "would let in every bot")
    if fga is None or (bots is None and fga.users is None):
        return None
    return Membership(fga.store_id, fga.object, fga.relation, bots, fga.users)


def needs(_options: Options) -> ClientNeeds:
    """Return what a SuperLink needs of its Keycloak client: `flwr login` signs in on another screen, through it.

    It may introspect the tokens that it is shown, which are its own client's, so they have to be for it as well.
    """
    return ClientNeeds(flows=frozenset({Flow.DEVICE}), own_audience=True, takes_public=False)


def residual(_options: Options, _role: str) -> str:
    """Return how far an account that was ended is let in."""
    return "A SuperLink that does not ask Keycloak at each call takes an account's access token until its own end"


def render(identity: Identity, options: Options) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds: variables for `envFrom`, or one file of YAML.

    Raises:
        InvalidSpecError: The server's client has no secret.
    """
    client = identity.oidc_client if isinstance(identity, ServedIdentity) else None
    if client is None or client.client_secret is None:
        message = (
            "spec.oidcClient must be there and have a secret for flower.superLink: the SuperLink signs accounts in"
        )
        raise InvalidSpecError(message)
    if options.minor >= _FIRST_WITH_VARIABLES:
        return {
            "FLWR_OIDC_ENABLED": Sensitive("1"),
            "FLWR_OIDC_ISSUER": Sensitive(identity.issuer_url),
            "FLWR_OIDC_CLIENT_ID": Sensitive(client.client_id),
            "FLWR_OIDC_CLIENT_SECRET": client.client_secret,
            "FLWR_OIDC_VERIFY_TLS": Sensitive("1" if options.verify_tls else "0"),
        }
    accounts = options.minor >= _FIRST_WITH_ACCOUNTS
    name = "account-auth-config.yml" if accounts else "user-auth-config.yml"
    return {name: Sensitive(_file(identity, client, options, "authn" if accounts else "auth"))}


def _file(identity: Identity, client: OidcClient, options: Options, prefix: str) -> str:
    endpoints = identity.endpoints
    secret = client.client_secret
    sections: dict[str, Mapping[str, str]] = {
        "authentication": {
            f"{prefix}_type": "oidc",
            f"{prefix}_url": endpoints.device_authorization,
            "token_url": endpoints.token,
            "validate_url": endpoints.userinfo,
            "oidc_client_id": client.client_id,
            "oidc_client_secret": secret.reveal() if secret is not None else "",
        }
    }
    if (fga := options.open_fga) is not None:
        sections["authorization"] = {
            "authz_type": "openfga",
            "authz_url": fga.url,
            "store_id": fga.store_id,
            "model_id": fga.model_id,
            "relation": fga.relation,
            "object": fga.object,
        }
    # A JSON text is a text of YAML too, as long as it holds neither control characters nor anything beyond ASCII.
    return "".join(
        f"{name}:\n" + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in values.items())
        for name, values in sections.items()
    )


def _open_fga(block: Body, path: str) -> OpenFga:
    return OpenFga(
        url=_plain(text(block, f"{path}.url"), f"{path}.url"),
        store_id=_plain(text(block, f"{path}.storeId"), f"{path}.storeId"),
        model_id=_plain(text(block, f"{path}.modelId"), f"{path}.modelId"),
        relation=_plain(text_or_none(block, f"{path}.relation") or HAS_ACCESS, f"{path}.relation"),
        object=_plain(text(block, f"{path}.object"), f"{path}.object"),
        users=parse_selection(block, f"{path}.users", "would let in every user"),
    )


def _plain(written: str, path: str) -> str:
    if not _PLAIN.fullmatch(written):
        message = f"{path} is {written[:40]!r}; write it without blanks, in ASCII"
        raise InvalidSpecError(message)
    return written
