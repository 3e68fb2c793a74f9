"""Tests of which claims a spec may set."""

from __future__ import annotations

import re

import pytest

from fedid.domain.claims import RESERVED_CLAIMS, is_free_claim
from tests.domain.crd_objects import spec_schema


@pytest.mark.parametrize("name", ["site", "fl_site", "Site-1", "subject", "c" * 63, "group", "audience"])
def test_a_name_of_ones_own_is_free(name: str) -> None:
    """What only begins like a claim of the protocol is none."""
    assert is_free_claim(name)


@pytest.mark.parametrize(
    "name",
    [
        *sorted(RESERVED_CLAIMS),
        "Sub",
        "REALM_ACCESS",
        "clientHost",
        "email",
        "Email_Verified",
        "realm_access.roles",
        "realm_access\\.roles",
        "site.name",
        "s\u0443b",
        "\u017fub",  # a long s: its capital is S
        "",
        "1st",
        "site ",
        "sub\n",
        "c" * 64,
        "https://example.org/site",
    ],
)
def test_what_is_not_ones_own_is_not(name: str) -> None:
    """Whatever its case, and nothing that Keycloak would take apart or a reader for another name."""
    assert not is_free_claim(name)


def test_the_manifest_is_refused_for_the_same_names() -> None:
    """The rule of the CRD lists exactly what the reconciler never lets through."""
    rules = " ".join(
        rule["rule"] for rule in spec_schema("BotClient")["properties"]["claims"]["x-kubernetes-validations"]
    )
    listed = re.sub(r"'\s*\+ '", "", rules)
    found = re.search(r"\(\?i\)\^\(([a-z_|-]+)\)\$", listed)
    assert found is not None
    assert set(found[1].split("|")) == RESERVED_CLAIMS
