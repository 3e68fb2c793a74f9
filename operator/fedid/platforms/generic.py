"""The generic platform: files made from templates of the PodIdentity."""

from __future__ import annotations

from collections.abc import Mapping

from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.fields import Body, text_by_name
from fedid.domain.sensitive import Sensitive
from fedid.domain.templates import Placeholder, parse_template, render_template
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, MountedIdentity, PublishedToken, ServedIdentity

__all__ = ["parse", "render"]

_PATH = "spec.platform.generic.files"


def parse(options: Body, path: str, _role: str) -> Mapping[str, str]:
    """Return the templates by key of the Secret.

    Raises:
        InvalidSpecError: A template holds something that is no placeholder.
    """
    files = text_by_name(options, f"{path}.files")
    for key, text in files.items():
        parse_template(text, f"{path}.files[{key}]")
    return files


def render(identity: Identity, files: Mapping[str, str]) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds.

    Args:
        identity: The bot's published credential, or what a server checks those of others with.
        files: Secret key to template.

    Raises:
        InvalidSpecError: A template is wrong, or names a token that the bot has not (reason `TokenMissing`).
    """
    fixed = _addresses(identity) | (_of_server(identity) if isinstance(identity, ServedIdentity) else _of_bot(identity))
    rendered = {}
    for key, text in files.items():
        template = parse_template(text, f"{_PATH}[{key}]")
        asked = {piece for piece in template if isinstance(piece, Placeholder) and piece not in fixed}
        values = fixed | {placeholder: _other_value(identity, placeholder, key) for placeholder in asked}
        rendered[key] = render_template(template, values)
    return rendered


def _addresses(identity: Identity) -> dict[Placeholder, Sensitive]:
    endpoints = identity.endpoints
    return {
        Placeholder("issuerUrl"): Sensitive(identity.issuer_url),
        Placeholder("tokenUrl"): Sensitive(endpoints.token),
        Placeholder("introspectionUrl"): Sensitive(endpoints.introspection),
        Placeholder("jwksUrl"): Sensitive(endpoints.jwks),
    }


def _of_bot(identity: MountedIdentity) -> dict[Placeholder, Sensitive]:
    values = {
        Placeholder("clientId"): Sensitive(identity.client_id),
        Placeholder("subject"): Sensitive(identity.subject),
    }
    if identity.client_secret is not None:
        values[Placeholder("clientSecret")] = identity.client_secret
    if identity.private_key is not None and identity.key_id is not None:
        values[Placeholder("privateKey")] = identity.private_key
        values[Placeholder("keyId")] = Sensitive(identity.key_id)
    return values


def _of_server(identity: ServedIdentity) -> dict[Placeholder, Sensitive]:
    accepted = "".join(f"{token.reveal()}\n" for token in identity.accepted_tokens)
    values = {Placeholder("tokens"): Sensitive(accepted)}
    if (client := identity.oidc_client) is not None:
        values[Placeholder("clientId")] = Sensitive(client.client_id)
        if client.client_secret is not None:
            values[Placeholder("clientSecret")] = client.client_secret
    return values


def _other_value(identity: Identity, placeholder: Placeholder, key: str) -> Sensitive:
    where = f"{_PATH}[{key}] mounts {placeholder}"
    if isinstance(identity, ServedIdentity):
        message = (
            f"{where}, which a server has not; {{tokens}} are the tokens of spec.accepts, {{clientId}} and "
            "{clientSecret} are those of spec.oidcClient, and the addresses of the realm are known to every role"
        )
        raise InvalidSpecError(message)
    if placeholder.name == "tokens":
        message = f"{where}, which only role: server knows; write {{token}} for the token of the bot itself"
        raise InvalidSpecError(message)
    return _token_value(identity, placeholder, key)


def _token_value(identity: MountedIdentity, placeholder: Placeholder, key: str) -> Sensitive:
    where = f"{_PATH}[{key}] mounts {placeholder}"
    keyless = identity.client_secret is None and identity.private_key is None
    if keyless:
        message = (
            f"{where}, and the bot authenticates by its ServiceAccount alone: nothing secret of it exists. Take "
            f"{placeholder} out and have the pod mount a projected token (serviceAccountToken) with the audience "
            f"{identity.issuer_url}, to be presented as client_assertion; docs/guide/2-first-bot.md has such a pod"
        )
        raise InvalidSpecError(message)
    if placeholder.name == "clientSecret":
        message = (
            f"{where}, and the bot authenticates with a private key; write {{privateKey}} and {{keyId}} instead, or "
            "{token} for a token that the operator mints"
        )
        raise InvalidSpecError(message)
    if placeholder.name in {"privateKey", "keyId"}:
        message = f"{where}, and the bot authenticates with a secret; write {{clientSecret}} instead"
        raise InvalidSpecError(message)
    name = placeholder.argument or identity.default_token
    token: PublishedToken | None = identity.tokens.get(name) if name is not None else None
    if token is None:
        have = ", ".join(sorted(identity.tokens)) or "none"
        message = (
            f"{where}, and the bot's published tokens are: {have}. "
            "Name one of them as {token:<name>}, or add it to the BotClient's spec.tokens"
        )
        raise InvalidSpecError(message, reason=Reason.TOKEN_MISSING)
    return Sensitive(rfc3339(token.expires_at)) if placeholder.name == "tokenExpiresAt" else token.token
