"""The published credential that every renderer is tested with."""

from __future__ import annotations

from datetime import UTC, datetime

from fedid.domain.sensitive import Sensitive
from fedid.platforms.identity import MountedIdentity, PublishedToken

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
