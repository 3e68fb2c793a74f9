"""What an admin event is about."""

from __future__ import annotations

import pytest

from fedid.domain.drift import AdminEvent, Part, changes_what_comes_along, touched


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


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("roles/fl-client/composites", True),
        ("roles-by-id/r1/composites", True),
        ("roles-by-id/r1/composites/clients/c1", True),
        ("clients/c1/roles/reader/composites", True),
        ("groups/g1/role-mappings/realm", True),
        ("groups/g1/role-mappings/clients/c1", True),
        ("groups/g1/children", True),
        ("groups/g1", True),
        ("roles/fl-client", False),
        ("roles/composites", False),
        ("clients/c1/roles/composites", False),
        ("clients/c1", False),
        ("users/u1/groups/g1", False),
        ("users/u1/role-mappings/realm", False),
        ("", False),
    ],
)
def test_what_may_bring_other_roles_along(path: str, *, changes: bool) -> None:
    """Composites, and groups in whatever way; what is done to users and clients is no such thing."""
    assert changes_what_comes_along(AdminEvent("e1", path)) is changes
