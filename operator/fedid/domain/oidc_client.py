"""The Keycloak client that a server is itself: what a PodIdentity says about it, and what its platform needs of it.

Source: RFC 6749 section 4.1 (authorization code), RFC 7636 (PKCE), RFC 7662 (introspection), RFC 8628 (device);
OpenID Connect RP-Initiated Logout 1.0 section 3.1 (post-logout redirect URIs).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from fedid.domain.claims import is_free_claim
from fedid.domain.durations import duration
from fedid.domain.fields import Body, flag, section, section_or_empty, text_or_none, texts
from fedid.domain.naming import ObjectKey
from fedid.domain.web_address import web_address
from fedid.errors import InvalidSpecError

__all__ = [
    "ClaimSource",
    "ClientNeeds",
    "Flow",
    "MappedClaim",
    "OidcClientSpec",
    "PublicClientNeeds",
    "check_claim",
    "default_server_id",
    "parse_oidc_client",
    "public_client_id",
]


class Flow(StrEnum):
    """What a server does with its client; the value is what spec and grants say."""

    AUTHORIZATION_CODE = "authorizationCode"
    DEVICE = "device"
    CLIENT_CREDENTIALS = "clientCredentials"
    INTROSPECTION = "introspection"
    """Asks about tokens that others show it. Keycloak lets every client with a secret do so, for tokens whose `aud`
    names it."""


class ClaimSource(StrEnum):
    """Where Keycloak takes the value of a claim from."""

    GROUPS = "Groups"
    """Paths of all groups of the user."""
    USER_ATTRIBUTE = "UserAttribute"
    """The attribute of the user that is named as the claim is."""


_OF_GROUPS: Final = frozenset({"groups", "roles"})
"""Names that groups may be told under beside free ones: their content is Keycloak's, so they give nothing away."""


@dataclass(frozen=True, slots=True)
class MappedClaim:
    """A claim about the user that the server reads when somebody signs in; never in access tokens."""

    name: str
    source: ClaimSource
    in_id_token: bool
    in_userinfo: bool


@dataclass(frozen=True, slots=True)
class PublicClientNeeds:
    """A second client, without a secret, for programs of the server's users (authorization code with PKCE)."""

    client_id: str | None
    """None: `<namespace>.<name>.server.public`."""
    redirect_paths: tuple[str, ...]
    """Below `baseUrl`."""


@dataclass(frozen=True, slots=True)
class ClientNeeds:
    """What a platform needs of its server's client."""

    flows: frozenset[Flow] = frozenset()
    """Those without which it does not work; what `flows` means where the spec says nothing."""
    redirect_paths: tuple[str, ...] = ()
    """Below `baseUrl`; beside what `redirectUris` says."""
    post_logout_paths: tuple[str, ...] = ()
    claims: tuple[MappedClaim, ...] = ()
    public_client: PublicClientNeeds | None = None
    own_audience: bool = False
    """Whether the server introspects tokens of its own client: they have to be for it then."""
    takes_public: bool = True
    """Whether the platform's server can do without a secret."""


@dataclass(frozen=True, slots=True)
class OidcClientSpec:
    """`spec.oidcClient`, with what the platform says where it is silent."""

    client_id: str
    default_named: bool
    flows: frozenset[Flow]
    public: bool
    base_url: str | None
    """Without a final slash."""
    redirect_uris: frozenset[str]
    post_logout_redirect_uris: frozenset[str]
    audiences: frozenset[str]
    default_scopes: frozenset[str] = frozenset()
    optional_scopes: frozenset[str] = frozenset()
    """Client scopes beside those that the realm gives to every client."""
    claims: tuple[MappedClaim, ...] = ()
    every: timedelta | None = None
    """How often its secret changes; None: only when it is asked for, since most servers read it only at their start."""
    overlap: timedelta | None = None
    """How long a former secret stays good; None: the Federation's default."""
    allow_interruption: bool = False
    """Whether a rotation may end the former secret at once where the realm keeps only one."""
    own_audience: bool = False
    """Whether its tokens are for itself too; asked of nobody."""
    second: OidcClientSpec | None = None
    """The public client beside it."""


def default_server_id(key: ObjectKey) -> str:
    """Return the clientId of a server that names none."""
    return f"{key.namespace}.{key.name}.server"


def public_client_id(key: ObjectKey) -> str:
    """Return the clientId of the public client beside it, if the platform names none."""
    return f"{default_server_id(key)}.public"


def parse_oidc_client(spec: Body, key: ObjectKey, needs: ClientNeeds) -> OidcClientSpec | None:
    """Return what `spec.oidcClient` asks for, None if it is not there and the platform needs no client.

    Args:
        spec: Of a PodIdentity.
        key: Of the PodIdentity.
        needs: Of its platform.

    Raises:
        InvalidSpecError: A field means nothing, or the platform cannot work so; the message names it.
    """
    path = "spec.oidcClient"
    if spec.get("oidcClient") is None:
        if needs.flows:
            what = "{baseUrl: https://<host>}" if needs.redirect_paths else "{}"
            message = f"{path} is missing: the platform signs users in; write oidcClient: {what}"
            raise InvalidSpecError(message)
        return None
    block = section(spec, path)
    base_url, public = _base_url(block, path), flag(block, f"{path}.public", default=False)
    flows = _flows(block, f"{path}.flows", needs)
    redirects = _addresses(block, f"{path}.redirectUris") | _below(base_url, needs.redirect_paths, path)
    after_logout = _addresses(block, f"{path}.postLogoutRedirectUris")
    after_logout |= _below(base_url, needs.post_logout_paths, path)
    _check(path, flows, redirects, public=public, needs=needs)
    rotation = section_or_empty(block, f"{path}.secretRotation")
    every, overlap = (text_or_none(rotation, f"{path}.secretRotation.{name}") for name in ("every", "overlap"))
    client_id = text_or_none(block, f"{path}.clientId") or default_server_id(key)
    return OidcClientSpec(
        client_id=client_id,
        default_named=client_id == default_server_id(key),
        flows=flows,
        public=public,
        base_url=base_url,
        redirect_uris=redirects,
        post_logout_redirect_uris=after_logout,
        audiences=frozenset(texts(block, f"{path}.audiences")),
        default_scopes=frozenset(texts(block, f"{path}.defaultScopes")),
        optional_scopes=frozenset(texts(block, f"{path}.optionalScopes")),
        claims=needs.claims,
        every=duration(every, f"{path}.secretRotation.every") if every is not None else None,
        overlap=duration(overlap, f"{path}.secretRotation.overlap") if overlap is not None else None,
        allow_interruption=flag(rotation, f"{path}.secretRotation.allowInterruption", default=False),
        own_audience=needs.own_audience,
        second=_second(needs.public_client, key, base_url, path),
    )


def check_claim(claim: MappedClaim, path: str) -> MappedClaim:
    """Return the claim if it may be told under that name.

    Raises:
        InvalidSpecError: It is one that the protocol or Keycloak goes by.
    """
    if is_free_claim(claim.name) or (claim.source is ClaimSource.GROUPS and claim.name in _OF_GROUPS):
        return claim
    message = f"{path} is {claim.name!r}, which the protocol or Keycloak goes by; choose another name"
    raise InvalidSpecError(message)


def _base_url(block: Body, path: str) -> str | None:
    written = text_or_none(block, f"{path}.baseUrl")
    if written is None:
        return None
    if web_address(written) is None:
        message = (
            f"{path}.baseUrl is {written!r}; write https://<host>[:<port>][/<path>] in small letters (http only for "
            "localhost), without user, query, fragment, escapes or `*`"
        )
        raise InvalidSpecError(message)
    return written.rstrip("/")


def _addresses(block: Body, path: str) -> frozenset[str]:
    written = texts(block, path)
    for number, address in enumerate(written):
        if web_address(address) is None:
            message = (
                f"{path}[{number}] is {address!r}; write the whole address, https://<host>[:<port>]/<path> (http only "
                "for localhost), without user, query, fragment, escapes or `*`"
            )
            raise InvalidSpecError(message)
    return frozenset(written)


def _below(base_url: str | None, paths: tuple[str, ...], path: str) -> frozenset[str]:
    if not paths:
        return frozenset()
    if base_url is None:
        message = f"{path}.baseUrl is missing: where the server is reached, such as https://dai.example.org"
        raise InvalidSpecError(message)
    return frozenset(base_url + one for one in paths)


def _flows(block: Body, path: str, needs: ClientNeeds) -> frozenset[Flow]:
    written = texts(block, path)
    known = {flow.value for flow in Flow}
    if unknown := [one for one in written if one not in known]:
        message = f"{path} holds {', '.join(unknown)}; the flows are {', '.join(Flow)}"
        raise InvalidSpecError(message)
    flows = frozenset(Flow(one) for one in written) or needs.flows
    if not flows:
        message = f"{path} is missing: say what the server does with its client, for example [authorizationCode]"
        raise InvalidSpecError(message)
    if missing := sorted(needs.flows - flows):
        message = f"{path} lacks {', '.join(missing)}, which the platform needs; add it, or leave flows out"
        raise InvalidSpecError(message)
    return flows


def _check(path: str, flows: frozenset[Flow], redirects: frozenset[str], *, public: bool, needs: ClientNeeds) -> None:
    code = Flow.AUTHORIZATION_CODE in flows
    if code and not redirects:
        message = f"{path}.redirectUris is missing: authorizationCode sends the browser back to one of them"
    elif redirects and not code:
        message = f"{path}.redirectUris is only for the flow authorizationCode; take it out, or add the flow"
    elif public and not needs.takes_public:
        message = f"{path}.public is true, and the platform's server has to have a secret; take it out"
    elif public and (wrong := sorted(flows & {Flow.CLIENT_CREDENTIALS, Flow.INTROSPECTION})):
        message = f"{path}.public is true, and {', '.join(wrong)} needs a secret; take one of the two out"
    else:
        return
    raise InvalidSpecError(message)


def _second(needs: PublicClientNeeds | None, key: ObjectKey, base_url: str | None, path: str) -> OidcClientSpec | None:
    if needs is None:
        return None
    client_id = needs.client_id or public_client_id(key)
    return OidcClientSpec(
        client_id=client_id,
        default_named=client_id == public_client_id(key),
        flows=frozenset({Flow.AUTHORIZATION_CODE}),
        public=True,
        base_url=base_url,
        redirect_uris=_below(base_url, needs.redirect_paths, path),
        post_logout_redirect_uris=frozenset(),
        audiences=frozenset(),
    )
