"""Tests of what a FederationUser becomes, and of what differs from that."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.conditions import Reason
from fedid.domain.federation_user import parse_federation_user
from fedid.domain.grants import ADOPT_ASK, EMAIL_VERIFIED_ASK, RETAIN_ASK, Ask, AskKind
from fedid.domain.judgement import Verdict
from fedid.domain.realm import IdentityProviderLink, UserRecord
from fedid.domain.user import (
    AppliedToUser,
    applied_by,
    applied_in,
    asks_of_user,
    desired_user,
    user_as_wanted,
    user_differences,
    user_suspension,
)
from fedid.errors import InvalidSpecError
from tests.domain.samples import NOW, OWNER, body
from tests.domain.user_model import ANA

FULL: dict[str, Any] = {
    "username": "ana",
    "email": "ana@site-a.example",
    "emailVerified": True,
    "attributes": {"site": ["a"], "badge": ["1", "2"]},
    "groups": ["/sites/a", "/admins"],
    "realmRoles": ["a", "b"],
    "clientRoles": {"superlink": ["submit", "run"], "bank": ["pay"]},
    "identityProviderLinks": [
        {"identityProvider": "university", "userId": "u-1", "userName": "ana.n"},
        {"identityProvider": "hospital", "userId": "h-1"},
    ],
    "requiredActions": ["CONFIGURE_TOTP"],
    "initialPassword": "Generate",
    "notify": True,
    "adopt": True,
    "deletionPolicy": "Retain",
}


def verdict(*denied: Ask) -> Verdict:
    """Return what grants might say of the user."""
    return Verdict(namespace_matched=True, denied=frozenset(denied), max_token_lifetime=None, message="")


def test_the_user_of_the_design_becomes_a_definite_user() -> None:
    """The example of design.md, granted in full, is the sample that the other tests start from."""
    assert desired_user(parse_federation_user(body("FederationUser")), verdict(), owner=OWNER) == ANA


def test_everything_that_a_user_can_ask_for_becomes_definite() -> None:
    """A generated password is one that has to be changed, so the action is expected too."""
    found = desired_user(parse_federation_user(body("FederationUser", FULL)), verdict(), owner=OWNER)
    assert found.email_verified
    assert found.attributes == {"site": ("a",), "badge": ("1", "2")}
    assert found.client_roles == {"superlink": {"submit", "run"}, "bank": {"pay"}}
    assert found.links == {
        "university": IdentityProviderLink("university", "u-1", "ana.n"),
        "hospital": IdentityProviderLink("hospital", "h-1", "h-1"),
    }
    assert found.required_actions == {"CONFIGURE_TOTP", "UPDATE_PASSWORD"}
    assert (found.initial_password, found.notify, found.adopt) == (True, True, True)


def test_what_is_denied_is_left_out() -> None:
    """What no grant covers never becomes part of what is made."""
    said = verdict(
        Ask(AskKind.GROUP, "/admins"),
        Ask(AskKind.REALM_ROLE, "b"),
        Ask(AskKind.GROUP, "a"),
        Ask(AskKind.CLIENT_ROLE, "run", "superlink"),
        Ask(AskKind.CLIENT_ROLE, "pay", "bank"),
        Ask(AskKind.ATTRIBUTE, "badge"),
        Ask(AskKind.IDENTITY_PROVIDER, "hospital"),
        EMAIL_VERIFIED_ASK,
        ADOPT_ASK,
    )
    found = desired_user(parse_federation_user(body("FederationUser", FULL)), said, owner=OWNER)
    assert (found.groups, found.realm_roles) == ({"/sites/a"}, {"a"})
    assert found.client_roles == {"superlink": {"submit"}}
    assert (set(found.attributes), set(found.links)) == ({"site"}, {"university"})
    assert (found.email_verified, found.adopt) == (False, False)


def test_a_user_asks_for_all_that_gives_it_something() -> None:
    """Names, an address and a password are no asks."""
    assert asks_of_user(parse_federation_user(body("FederationUser", FULL))) == {
        *(Ask(AskKind.GROUP, path) for path in ("/sites/a", "/admins")),
        *(Ask(AskKind.REALM_ROLE, role) for role in ("a", "b")),
        *(Ask(AskKind.CLIENT_ROLE, role, "superlink") for role in ("submit", "run")),
        Ask(AskKind.CLIENT_ROLE, "pay", "bank"),
        *(Ask(AskKind.ATTRIBUTE, name) for name in ("site", "badge")),
        *(Ask(AskKind.IDENTITY_PROVIDER, alias) for alias in ("university", "hospital")),
        EMAIL_VERIFIED_ASK,
        ADOPT_ASK,
        RETAIN_ASK,
    }
    assert asks_of_user(parse_federation_user(body("FederationUser", {"username": "ana"}))) == set()


@pytest.mark.parametrize(
    ("spec", "actions"),
    [
        pytest.param({}, set(), id="nothing asked"),
        pytest.param({"notify": True}, {"UPDATE_PASSWORD"}, id="a mail that leads to a password"),
        pytest.param({"notify": True, "requiredActions": ["VERIFY_EMAIL"]}, {"VERIFY_EMAIL"}, id="to what is asked"),
        pytest.param({"initialPassword": "Generate"}, {"UPDATE_PASSWORD"}, id="a temporary password"),
        pytest.param({"initialPassword": "None"}, set(), id="no password"),
    ],
)
def test_who_is_told_something_has_something_to_do(spec: dict[str, Any], actions: set[str]) -> None:
    """A mail without an action would lead nowhere."""
    parsed = parse_federation_user(body("FederationUser", {"username": "ana", "email": "a@b.c", **spec}))
    assert desired_user(parsed, verdict(), owner=OWNER).required_actions == actions


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"username": "service-account-superlink"}, "write a BotClient"),
        ({"username": "Service-Account-superlink"}, "write a BotClient"),
        ({"username": "ana", "attributes": {"fedid.owner": ["x"]}}, "belongs to the operator"),
        ({"username": "ana", "attributes": {"FEDID.owner": ["x"]}}, "belongs to the operator"),
        ({"username": "ana", "attributes": {"firstName": ["x"]}}, "fields of their own"),
        ({"username": "ana", "initialPassword": "Hunter2"}, "write Generate or None"),
        ({"username": "ana", "deletionPolicy": "Keep"}, "write Delete or Retain"),
        ({"username": "ana", "identityProviderLinks": [{"identityProvider": "u"}]}, "userId is missing"),
        (
            {
                "username": "ana",
                "identityProviderLinks": [{"identityProvider": "u", "userId": w} for w in ("1", "2")],
            },
            "one link to each",
        ),
    ],
)
def test_an_older_schema_lets_nothing_in(spec: dict[str, Any], words: str) -> None:
    """What the schema refuses today is refused here too."""
    with pytest.raises(InvalidSpecError, match=words):
        parse_federation_user(body("FederationUser", spec))


@pytest.mark.parametrize(
    ("spec", "after", "reason"),
    [
        ({}, 0, None),
        ({"suspend": True}, 0, Reason.SUSPENDED),
        ({"expiresAt": "2026-03-01T12:00:00Z"}, 0, Reason.EXPIRED),
        ({"expiresAt": "2026-03-01T12:00:00Z"}, -1, None),
        ({"suspend": True, "expiresAt": "2026-03-01T12:00:00Z"}, 1, Reason.SUSPENDED),
    ],
)
def test_a_user_is_suspended_by_hand_or_by_the_clock(spec: dict[str, Any], after: int, reason: Reason | None) -> None:
    """The very instant is too late."""
    parsed = parse_federation_user(body("FederationUser", {"username": "ana", **spec}))
    found = user_suspension(parsed, NOW + timedelta(microseconds=after))
    assert (found.reason if found is not None else None) is reason
    assert found is None or "so the account is disabled and its sessions are ended" in found.message


def test_an_address_is_compared_as_keycloak_stores_it() -> None:
    """Keycloak stores addresses in lower case, so an older manifest with capitals is no drift for ever."""
    spec = parse_federation_user(body("FederationUser", {"username": "ana", "email": "Ana@Site-A.example"}))
    assert desired_user(spec, verdict(), owner=OWNER).email == "ana@site-a.example"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({}, (), id="as desired"),
        pytest.param({"username": "anna"}, ("username",), id="renamed by hand"),
        pytest.param({"enabled": False}, ("enabled",), id="disabled by hand"),
        pytest.param({"email": "x@example.org"}, ("email",), id="another address"),
        pytest.param({"email": None}, ("email",), id="no address"),
        pytest.param({"first_name": "Anna"}, ("firstName",), id="another first name"),
        pytest.param({"last_name": ""}, ("lastName",), id="no last name"),
        pytest.param({"object_name": None}, ("attributes[fedid.object]",), id="the name of the object"),
        pytest.param({"owner": None}, ("attributes[fedid.owner]",), id="the owner mark"),
        pytest.param({"attributes": {}}, ("attributes[site]",), id="an attribute was taken away"),
        pytest.param({"attributes": {"site": ("b",)}}, ("attributes[site]",), id="an attribute was changed"),
        pytest.param({"attributes": {"site": ("c", "a")}}, (), id="values come in no order"),
        pytest.param({"attributes": {"site": ("a", "c"), "locale": ("sl",)}}, (), id="an attribute of others"),
        pytest.param({"email_verified": True}, (), id="the user verified the address"),
        pytest.param(
            {"email": "x@example.org", "email_verified": True},
            ("email", "emailVerified"),
            id="another address, and that one was verified",
        ),
        pytest.param({"user_id": "1", "groups": frozenset()}, (), id="id and groups are compared elsewhere"),
        pytest.param({"required_actions": frozenset({"VERIFY_EMAIL"})}, (), id="required actions are the user's"),
        pytest.param(
            {"first_name": None, "email": None, "enabled": False},
            ("enabled", "email", "firstName"),
            id="several at once",
        ),
    ],
)
def test_each_change_of_a_user_is_named(changes: dict[str, Any], named: tuple[str, ...]) -> None:
    """Exactly the fields that were changed by hand are named, by Keycloak's names."""
    desired = replace(ANA, attributes={"site": ("a", "c")})
    observed = replace(desired.record, **changes)
    assert user_differences(user_as_wanted(desired, observed, applied_by(desired)), observed) == named


@pytest.mark.parametrize("untold", [None, ""])
def test_nothing_and_an_empty_text_are_the_same(untold: str | None) -> None:
    """What a spec leaves out and Keycloak tells as empty is no difference."""
    wanted = replace(ANA, email=None, first_name=None, last_name=None).record
    assert user_differences(wanted, replace(wanted, email=untold, first_name=untold, last_name=untold)) == ()


def test_every_field_of_a_user_is_compared_or_left_alone_on_purpose() -> None:
    """A field that is added to the record must be compared, or be listed here with its reason."""
    compared = {"username", "enabled", "email", "first_name", "last_name", "object_name"}
    compared |= {"owner", "attributes", "email_verified"}
    elsewhere = {
        "user_id",  # what it was read by
        "groups",  # by the plan, with their ids
        "links",  # by the plan, by whom they lead to
        "required_actions",  # the user's, once the account is made
    }
    assert {field.name for field in fields(UserRecord)} == compared | elsewhere


def test_only_what_the_manifest_gave_is_taken_back() -> None:
    """An attribute, a verified address: what others gave stays, what was ours goes."""
    observed = replace(ANA.record, attributes={"site": ("a",), "locale": ("sl",)}, email_verified=True, user_id="1")
    others = user_as_wanted(ANA, observed, AppliedToUser())
    assert (others.attributes, others.email_verified) == (observed.attributes, True)
    ours = user_as_wanted(ANA, observed, AppliedToUser(frozenset({"site"}), frozenset(), email_verified=True))
    assert (ours.attributes, ours.email_verified) == ({"locale": ("sl",)}, False)


def test_what_was_given_survives_the_status() -> None:
    """It is read back as it was written; nothing is written of nothing."""
    given = applied_by(desired_user(parse_federation_user(body("FederationUser", FULL)), verdict(), owner=OWNER))
    assert applied_in({"applied": given.fields()}) == given
    assert AppliedToUser().fields() is None
    assert applied_in({}) == AppliedToUser()
