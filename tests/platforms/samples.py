"""The published credential that every renderer is tested with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from fedid.domain.sensitive import Sensitive
from fedid.platforms.identity import (
    AcceptedBot,
    CopiedEntry,
    Identity,
    MountedIdentity,
    PublishedToken,
    ServedIdentity,
)

DEFAULT = PublishedToken(
    Sensitive("eyJhbGciOiJSUzI1NiJ9.default-token.signature"), datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
)
AUDIT = PublishedToken(
    Sensitive("eyJhbGciOiJSUzI1NiJ9.audit-token.signature"), datetime(2026, 3, 1, 12, 20, tzinfo=UTC)
)


def trainer(**tokens: PublishedToken) -> MountedIdentity:
    """Return the trainer of design.md with these published tokens."""
    return MountedIdentity(
        client_id="site-a.trainer",
        client_secret=Sensitive("fbs_golden-secret"),
        subject="7c0f5d0e-0000-4000-8000-000000000002",
        issuer_url="https://keycloak.example.org/realms/fl",
        tokens=tokens,
    )


OPAQUE = PublishedToken(Sensitive("0a" * 32), datetime(2026, 3, 31, 12, 0, tzinfo=UTC))


def accepted(name: str, *tokens: str, subject: str = "7c0f5d0e-0000-4000-8000-000000000002") -> AcceptedBot:
    """Return a bot of site-a whose opaque tokens a server takes."""
    held = tuple(Sensitive(token) for token in tokens)
    return AcceptedBot(f"site-a/{name}", f"site-a.{name}", subject, held, in_use=held[0] if held else Sensitive(""))


def server(*bots: AcceptedBot) -> ServedIdentity:
    """Return what a server checks the tokens of these bots with."""
    return ServedIdentity("https://keycloak.example.org/realms/fl", bots)


ACCEPTED = accepted("trainer", "0a" * 32)
IN_OVERLAP = accepted("evaluator", "1b" * 32, "2c" * 32, subject="7c0f5d0e-0000-4000-8000-000000000003")


def copied(values: dict[str, str], previous: dict[str, str] | None = None) -> MountedIdentity:
    """Return the trainer with an entry that a person laid into Vault."""
    slots = [{key: Sensitive(value) for key, value in slot.items()} for slot in (values, previous or {})]
    return replace(trainer(), copied=CopiedEntry(*slots))


API_KEYS = {"api_key_id": "b7a1", "api_key": "core-part:am-part\n"}
KEY_PAIR = {
    "private_key": "-----BEGIN PRIVATE KEY-----\r\nMIIE\r\nAAAA\r\n-----END PRIVATE KEY-----",
    "public_key": "-----BEGIN PUBLIC KEY-----\nMIIC\n-----END PUBLIC KEY-----\n\n",
    "key_id": "5f0c\n",
}
SSH_KEY_PAIR = {
    "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n",
    "public_key": "ssh-rsa AAAAB3NzaC1yc2E=",
    "key_id": "5f0c",
}
IDENTITIES: dict[str, Identity] = {
    "bot": trainer(default=OPAQUE),
    "bot with two tokens": trainer(default=DEFAULT, fleet=OPAQUE),
    "API key": copied(API_KEYS, {"api_key_id": "a6f0", "api_key": "former"}),
    "modeller's key": copied(KEY_PAIR),
    "modeller's key as the SDK writes it": copied(SSH_KEY_PAIR),
    "server of nobody": server(),
    "server of one bot": server(ACCEPTED),
    "server of two bots, one in overlap": server(IN_OVERLAP, ACCEPTED),
    "server of one bot in overlap": server(accepted("trainer", "0a" * 32, "1b" * 32)),
}
"""What the golden files of the platforms were made from, by the name that stands in their `case.yaml`."""
