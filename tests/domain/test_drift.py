"""What an admin event is about."""

from __future__ import annotations

import pytest

from fedid.domain.drift import AdminEvent, Part, touched


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("clients/c1", (Part.CLIENT, "c1")),
        ("clients/c1/client-secret", (Part.CLIENT, "c1")),
        ("clients/c1/protocol-mappers/models/m1", (Part.CLIENT, "c1")),
        ("clients/c1/default-client-scopes/s1", (Part.CLIENT, "c1")),
        ("clients/c1/roles/reader", (Part.CLIENT_ROLE, "reader")),
        ("clients/c1/roles/reader/composites", None),
        ("users/u1", (Part.USER, "u1")),
        ("users/u1/role-mappings/realm", (Part.USER, "u1")),
        ("users/u1/role-mappings/clients/c1", (Part.USER, "u1")),
        ("users/u1/groups/g1", (Part.USER, "u1")),
        ("roles/fl-client", (Part.REALM_ROLE, "fl-client")),
        ("roles/with%20space", (Part.REALM_ROLE, "with space")),
        ("roles/fl-client/composites", None),
        ("roles-by-id/r1", (Part.ROLE, "r1")),
        ("groups/g1", (Part.GROUP, "g1")),
        ("groups/g1/role-mappings/realm", None),
        ("client-scopes/s1", None),
        ("authentication/flows/f1", None),
        ("", None),
    ],
)
def test_what_an_event_is_about(path: str, about: tuple[Part, str] | None) -> None:
    """As Keycloak 26.7.3 writes its paths."""
    assert touched(AdminEvent("e1", path)) == about
