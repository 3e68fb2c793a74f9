"""H2O Driverless AI: how its server signs users in, and what a program presents to it.

The server reads its configuration at its start only, `DRIVERLESS_AI_<KEY>` of the environment before `config.toml`
(TOML 0.5). It signs users in with an authorization code and `client_secret_basic`.

Source: Driverless AI documentation, "OpenID Connect Authentication", "Auth configuration" and "Using the config.toml
File" (1.10 LTS to latest); driverlessai 2.5.1.1, `token_providers.OAuth2TokenProvider`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from fedid.domain.fields import Body, section, text, text_or_none, texts
from fedid.domain.oidc_client import ClaimSource, ClientNeeds, Flow, MappedClaim, PublicClientNeeds, check_claim
from fedid.domain.pod_identity import CLIENT, SERVER
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, MountedIdentity, OidcClient, ServedIdentity

__all__ = ["Gate", "Options", "needs", "parse", "render", "residual"]

ENVIRONMENT: Final = "Environment"
CONFIG_TOML: Final = "ConfigToml"
_METHODS: Final = ("oidc", "openid")
_SOURCES: Final = {"userinfo": "userinfo", "idToken": "id_token"}
_USERNAME_KEYS: Final = ("auth_oidc_username_claim", "auth_oidc_id_token_username_key")
"""The documentation's prose says the first, its example the second, of the same thing."""
_SCOPES: Final = ("openid", "profile", "email")
_CLIENT_TOKEN_PATH: Final = "/oauth2/client_token"
_LOGIN_PATH: Final = "/login"
_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f]*")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749 section 3.3."""

Setting = str | bool | Sensitive


@dataclass(frozen=True, slots=True)
class Gate:
    """Which of those who can sign in are let in."""

    claim: MappedClaim
    value: str | None
    """What the claim has to be; None: `object_path` decides."""
    object_path: str | None


@dataclass(frozen=True, slots=True)
class Options:
    """The block `driverlessAi`."""

    format: str = ENVIRONMENT
    method: str = "oidc"
    identity_source: str = "userinfo"
    username_key: str = _USERNAME_KEYS[0]
    username_claim: str = "preferred_username"
    scopes: tuple[str, ...] = ()
    """Beside `openid profile email`."""
    gate: Gate | None = None
    python_client: bool = False
    python_client_id: str | None = None

    @property
    def callback_path(self) -> str:
        """Where the server takes authorization codes."""
        return f"/{self.method}/callback"


def parse(options: Body, path: str, role: str) -> Options:
    """Return the options.

    Raises:
        InvalidSpecError: One means nothing, or two do not go together; the message names the field.
    """
    if role == CLIENT:
        if options:
            message = f"{path} has options for role: server only; write driverlessAi: {{}} for what a program presents"
            raise InvalidSpecError(message)
        return Options()
    method = _one_of(options, f"{path}.method", _METHODS)
    source = _one_of(options, f"{path}.identitySource", tuple(_SOURCES))
    if method == "openid" and (odd := [name for name in ("identitySource", "usernameClaimKey") if options.get(name)]):
        message = f"{path}.{odd[0]} is for method: oidc; with openid the server reads userinfo; take it out"
        raise InvalidSpecError(message)
    scopes = texts(options, f"{path}.scopes")
    if wrong := [scope for scope in scopes if not _SCOPE.fullmatch(scope)]:
        message = f"{path}.scopes holds {wrong[0]!r}, which is no scope; write names without blanks, quotes and `\\`"
        raise InvalidSpecError(message)
    python = section(options, f"{path}.pythonClient") if options.get("pythonClient") is not None else None
    return Options(
        format=_one_of(options, f"{path}.format", (ENVIRONMENT, CONFIG_TOML)),
        method=method,
        identity_source=source,
        username_key=_one_of(options, f"{path}.usernameClaimKey", _USERNAME_KEYS),
        username_claim=_plain(text_or_none(options, f"{path}.usernameClaim"), f"{path}.usernameClaim")
        or "preferred_username",
        scopes=tuple(scope for scope in scopes if scope not in _SCOPES),
        gate=_gate(options, f"{path}.gate", source),
        python_client=python is not None,
        python_client_id=text_or_none(python, f"{path}.pythonClient.clientId") if python is not None else None,
    )


def needs(options: Options) -> ClientNeeds:
    """Return what the server needs of its Keycloak client."""
    flows = {Flow.AUTHORIZATION_CODE} | ({Flow.INTROSPECTION} if options.python_client else set())
    public = PublicClientNeeds(options.python_client_id, (_CLIENT_TOKEN_PATH,)) if options.python_client else None
    return ClientNeeds(
        flows=frozenset(flows),
        redirect_paths=(options.callback_path,),
        post_logout_paths=(_LOGIN_PATH,),
        claims=(options.gate.claim,) if options.gate is not None else (),
        public_client=public,
        takes_public=False,
    )


def residual(_options: Options, role: str) -> str | None:
    """Return how far a user who was ended is let in: Driverless AI keeps sessions of its own."""
    if role != SERVER:
        return None
    return (
        "A user who is signed in keeps the session in Driverless AI for up to authentication_default_timeout_hours "
        "(72 by default), also when Keycloak refuses the user; only the next login is refused at once"
    )


def render(identity: Identity, options: Options) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds.

    For a server, variables to be read with `envFrom`, or the one file `config.toml`. For a program, one file for each
    argument of `OAuth2TokenProvider` that a bot can give; a refresh token belongs to a user, and it has none.

    Raises:
        InvalidSpecError: The bot, or the server's client, lacks what the platform needs.
    """
    if isinstance(identity, MountedIdentity):
        return _files_of_program(identity)
    settings = _settings(identity, options)
    if options.format == CONFIG_TOML:
        return {"config.toml": Sensitive("".join(f"{key} = {_toml(value)}\n" for key, value in settings.items()))}
    return {f"DRIVERLESS_AI_{key.upper()}": Sensitive(_word(value)) for key, value in settings.items()}


def _settings(identity: ServedIdentity, options: Options) -> dict[str, Setting]:
    """Return the server's configuration by key."""
    client = identity.oidc_client
    if client is None or client.client_secret is None or client.base_url is None:
        message = "spec.oidcClient must have a baseUrl and a secret for driverlessAi: its server signs users in"
        raise InvalidSpecError(message)
    scope = " ".join((*_SCOPES, *options.scopes))
    found: dict[str, Setting] = {"authentication_method": options.method}
    found |= _oidc(identity, client, options) if options.method == "oidc" else _openid(identity, client, options)
    found |= {
        "auth_openid_client_id": client.client_id,
        "auth_openid_client_secret": client.client_secret,
        "auth_openid_redirect_uri": client.base_url + options.callback_path,
        "auth_openid_scope": scope,
    }
    if options.scopes:
        found["auth_openid_default_scopes"] = " ".join(options.scopes)
    return found | _gate_settings(options.gate) | _python_client(identity, client, options)


def _oidc(identity: ServedIdentity, client: OidcClient, options: Options) -> dict[str, Setting]:
    return {
        "auth_oidc_issuer_url": identity.issuer_url,
        "auth_oidc_identity_source": _SOURCES[options.identity_source],
        options.username_key: options.username_claim,
        "auth_oidc_post_logout_url": f"{client.base_url}{_LOGIN_PATH}",
    }


def _openid(identity: ServedIdentity, client: OidcClient, options: Options) -> dict[str, Setting]:
    def below(address: str) -> str:
        return address.removeprefix(identity.issuer_url)

    endpoints = identity.endpoints
    return {
        "auth_openid_provider_base_uri": identity.issuer_url,
        "auth_openid_configuration_uri": "/.well-known/openid-configuration",
        "auth_openid_auth_uri": below(endpoints.authorization),
        "auth_openid_token_uri": below(endpoints.token),
        "auth_openid_userinfo_uri": below(endpoints.userinfo),
        "auth_openid_response_type": "code",
        "auth_openid_grant_type": "authorization_code",
        "auth_openid_userinfo_username_key": options.username_claim,
        **({"auth_openid_token_introspection_url": endpoints.introspection} if client.public_client_id else {}),
    }


def _gate_settings(gate: Gate | None) -> dict[str, Setting]:
    if gate is None:
        return {}
    if gate.object_path is not None:
        return {
            "auth_openid_use_objectpath_match": True,
            "auth_openid_use_objectpath_expression": gate.object_path,
        }
    return {
        "auth_openid_use_objectpath_match": False,
        "auth_openid_userinfo_auth_key": gate.claim.name,
        "auth_openid_userinfo_auth_value": gate.value or "",
    }


def _python_client(identity: ServedIdentity, client: OidcClient, options: Options) -> dict[str, Setting]:
    if client.public_client_id is None:
        return {}
    endpoints = identity.endpoints
    return {
        "api_token_introspection_enabled": True,
        "api_token_introspection_method": "OAUTH2_TOKEN_INTROSPECTION",
        "api_token_oauth2_username_field_name": "username",
        "oauth2_client_tokens_enabled": True,
        "oauth2_client_tokens_client_id": client.public_client_id,
        "oauth2_client_tokens_authorize_url": endpoints.authorization,
        "oauth2_client_tokens_token_url": endpoints.token,
        "oauth2_client_tokens_introspection_url": endpoints.introspection,
        "oauth2_client_tokens_scope": " ".join((*_SCOPES, *options.scopes)),
        "oauth2_client_tokens_redirect_url": f"{client.base_url}{_CLIENT_TOKEN_PATH}",
    }


def _files_of_program(identity: MountedIdentity) -> dict[str, Sensitive]:
    name = identity.default_token
    if name is None:
        message = "driverlessAi presents a bearer token: give the BotClient one, spec.tokens: [{name: default}]"
        raise InvalidSpecError(message, reason="TokenMissing")
    endpoints = identity.endpoints
    files = {
        "access_token": identity.tokens[name].token,
        "client_id": Sensitive(identity.client_id),
        "token_endpoint_url": Sensitive(endpoints.token),
        "token_introspection_url": Sensitive(endpoints.introspection),
    }
    return files | ({"client_secret": identity.client_secret} if identity.client_secret is not None else {})


def _gate(options: Body, path: str, source: str) -> Gate | None:
    if options.get("gate") is None:
        return None
    gate = section(options, path)
    kind = _one_of(gate, f"{path}.source", tuple(ClaimSource))
    claim = MappedClaim(
        name=text(gate, f"{path}.claim"),
        source=ClaimSource(kind),
        in_id_token=source == "idToken",
        in_userinfo=source == "userinfo",
    )
    value, object_path = (
        _plain(text_or_none(gate, f"{path}.{one}"), f"{path}.{one}") for one in ("value", "objectPath")
    )
    if (value is None) == (object_path is None):
        message = f"{path} takes exactly one of value and objectPath"
        raise InvalidSpecError(message)
    if value is not None and claim.source is ClaimSource.GROUPS:
        message = f"{path}.value is compared with the whole claim, and groups are a list; write objectPath instead"
        raise InvalidSpecError(message)
    return Gate(check_claim(claim, f"{path}.claim"), value, object_path)


def _one_of(options: Body, path: str, known: tuple[str, ...]) -> str:
    """Return which of the known words is written; the first one if none is."""
    written = text_or_none(options, path) or known[0]
    if written not in known:
        message = f"{path} is {written!r}; write {' or '.join(known)}"
        raise InvalidSpecError(message)
    return written


def _plain(written: str | None, path: str) -> str | None:
    if written is not None and not _PLAIN.fullmatch(written):
        message = f"{path} holds a line end or another control character; write it in one line"
        raise InvalidSpecError(message)
    return written


def _word(value: Setting) -> str:
    match value:
        case Sensitive():
            return value.reveal()
        case bool():
            return "true" if value else "false"
        case _:
            return value


def _toml(value: Setting) -> str:
    """Return a TOML value; a JSON text is a basic string as long as it holds no control character."""
    return _word(value) if isinstance(value, bool) else json.dumps(_word(value), ensure_ascii=False)
