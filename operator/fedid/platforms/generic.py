"""The generic platform: files made from templates of the PodIdentity."""

from __future__ import annotations

from collections.abc import Mapping

from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.sensitive import Sensitive
from fedid.domain.templates import Placeholder, parse_template, render_template
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import MountedIdentity, PublishedToken

__all__ = ["render"]


def render(identity: MountedIdentity, files: Mapping[str, str]) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds.

    Args:
        identity: The bot's published credential.
        files: Secret key to template.

    Raises:
        InvalidSpecError: A template is wrong, or names a token that the bot has not (reason `TokenMissing`).
    """
    endpoint = f"{identity.issuer_url}/protocol/openid-connect"
    fixed = {
        Placeholder("clientId"): Sensitive(identity.client_id),
        Placeholder("subject"): Sensitive(identity.subject),
        Placeholder("issuerUrl"): Sensitive(identity.issuer_url),
        Placeholder("tokenUrl"): Sensitive(f"{endpoint}/token"),
        Placeholder("introspectionUrl"): Sensitive(f"{endpoint}/token/introspect"),
        Placeholder("jwksUrl"): Sensitive(f"{endpoint}/certs"),
    }
    if identity.client_secret is not None:
        fixed[Placeholder("clientSecret")] = identity.client_secret
    if identity.private_key is not None and identity.key_id is not None:
        fixed[Placeholder("privateKey")] = identity.private_key
        fixed[Placeholder("keyId")] = Sensitive(identity.key_id)
    rendered = {}
    for key, text in files.items():
        template = parse_template(text, f"spec.platform.generic.files[{key}]")
        asked = {piece for piece in template if isinstance(piece, Placeholder) and piece not in fixed}
        values = fixed | {placeholder: _token_value(identity, placeholder, key) for placeholder in asked}
        rendered[key] = render_template(template, values)
    return rendered


def _token_value(identity: MountedIdentity, placeholder: Placeholder, key: str) -> Sensitive:
    where = f"spec.platform.generic.files[{key}] mounts {placeholder}"
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
            f"spec.platform.generic.files[{key}] mounts {placeholder}, and the bot's published tokens are: {have}. "
            "Name one of them as {token:<name>}, or add it to the BotClient's spec.tokens"
        )
        raise InvalidSpecError(message, reason=Reason.TOKEN_MISSING)
    return Sensitive(rfc3339(token.expires_at)) if placeholder.name == "tokenExpiresAt" else token.token
