"""Tests of what makes a token good, and of when an old one says too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials, MintedToken, TokenClaims, outlives, token_faults, wider_than
from tests.domain.samples import NOW, claims, desired

BOT = desired(
    realm_roles=frozenset({"fl-client", "fl-viewer"}),
    client_roles={"superlink": frozenset({"submit", "run"}), "other": frozenset({"see"})},
    audiences=frozenset({"superlink", "other"}),
)
GOOD = claims(BOT)
NAMES = st.frozensets(st.sampled_from("abc"))


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        pytest.param({}, (), id="as asked for"),
        pytest.param({"realm_roles": GOOD.realm_roles | {"more"}}, (), id="more realm roles than asked for"),
        pytest.param({"audiences": GOOD.audiences | {"more"}}, (), id="more audiences than asked for"),
        pytest.param({"client_roles": {**GOOD.client_roles, "x": frozenset({"y"})}}, (), id="more client roles"),
        pytest.param(
            {"authorized_party": "site-b.other"},
            ("azp is site-b.other, not site-a.trainer",),
            id="issued to another client",
        ),
        pytest.param(
            {"subject": ""},
            ("it has no sub (does the realm's default client scope `basic` exist?)",),
            id="no subject",
        ),
        pytest.param(
            {"audiences": frozenset({"superlink"})}, ("audience other is missing",), id="an audience is missing"
        ),
        pytest.param(
            {"audiences": frozenset()}, ("audience other, superlink is missing",), id="all audiences are missing"
        ),
        pytest.param(
            {"realm_roles": frozenset({"fl-viewer"})},
            ("realm role fl-client is missing (is the client scope `roles` a realm default?)",),
            id="a realm role is missing",
        ),
        pytest.param(
            {"client_roles": {"superlink": frozenset({"run"}), "other": frozenset({"see"})}},
            ("role submit of client superlink is missing",),
            id="a client role is missing",
        ),
        pytest.param(
            {"client_roles": {"superlink": frozenset({"see", "run", "submit"})}},
            ("role see of client other is missing",),
            id="a client role that only another client has is missing",
        ),
        pytest.param(
            {"client_roles": {}},
            ("role see of client other is missing", "role run, submit of client superlink is missing"),
            id="all client roles are missing",
        ),
        pytest.param({"expires_at": NOW + timedelta(minutes=10, seconds=5)}, (), id="five seconds more are rounding"),
        pytest.param(
            {"expires_at": NOW + timedelta(minutes=10, seconds=6)},
            ("it lives 0:10:06, longer than the 0:10:00 asked for",),
            id="it lives longer than asked for",
        ),
        pytest.param({"expires_at": NOW + timedelta(seconds=10)}, (), id="a shorter life is enough, and told"),
        pytest.param(
            {"expires_at": NOW + timedelta(seconds=9)},
            ("it lives 0:00:09, not 0:10:00: the realm's SSO Session Max caps it",),
            id="a cap of the realm that leaves nothing to work with",
        ),
        pytest.param(
            {"authorized_party": "x", "subject": "", "audiences": frozenset({"other"})},
            (
                "azp is x, not site-a.trainer",
                "it has no sub (does the realm's default client scope `basic` exist?)",
                "audience superlink is missing",
            ),
            id="every fault is told",
        ),
    ],
)
def test_faults_are_told_one_by_one(changes: dict[str, Any], faults: tuple[str, ...]) -> None:
    """A token that does not say what was asked for is not published, and each reason is a phrase to act on."""
    assert token_faults(replace(GOOD, **changes), BOT.expectation()) == faults


@pytest.mark.parametrize(
    ("old", "wider"),
    [
        pytest.param({}, False, id="the same rights"),
        pytest.param({"realm_roles": frozenset()}, False, id="fewer realm roles than the new one"),
        pytest.param({"client_roles": {}}, False, id="fewer client roles than the new one"),
        pytest.param({"audiences": frozenset()}, False, id="fewer audiences than the new one"),
        pytest.param({"token_id": "other", "expires_at": NOW + timedelta(days=1)}, False, id="only a longer life"),
        pytest.param({"realm_roles": GOOD.realm_roles | {"more"}}, True, id="one realm role more"),
        pytest.param({"audiences": GOOD.audiences | {"more"}}, True, id="one audience more"),
        pytest.param({"client_roles": {"superlink": frozenset({"more"})}}, True, id="one role more of a known client"),
        pytest.param({"client_roles": {"x": frozenset({"y"})}}, True, id="a role of a client that the new one lacks"),
        pytest.param({"client_roles": {"x": frozenset()}}, False, id="no role of a client that the new one lacks"),
    ],
)
def test_an_old_token_is_wider_if_it_grants_something_more(old: dict[str, Any], *, wider: bool) -> None:
    """A token that still grants what was taken away must be revoked; one that merely differs need not."""
    assert wider_than(replace(GOOD, **old), GOOD) is wider


@pytest.mark.parametrize(
    ("limit", "outlived"),
    [
        pytest.param(None, False, id="no limit"),
        pytest.param(timedelta(minutes=10), False, id="a limit that is just met"),
        pytest.param(timedelta(minutes=9, seconds=55), False, id="five seconds over it are rounding"),
        pytest.param(timedelta(minutes=9, seconds=54), True, id="six seconds over it"),
        pytest.param(timedelta(hours=1), False, id="a wider limit"),
    ],
)
def test_a_token_outlives_a_limit_by_the_life_it_was_given(limit: timedelta | None, *, outlived: bool) -> None:
    """A token that was given a longer life than the grants allow is known, however much of it is left."""
    assert outlives(GOOD, limit) is outlived


def _with_rights(
    roles: frozenset[str], audiences: frozenset[str], of_clients: Mapping[str, frozenset[str]]
) -> TokenClaims:
    return replace(GOOD, realm_roles=roles, audiences=audiences, client_roles=of_clients)


RIGHTS = st.builds(_with_rights, NAMES, NAMES, st.dictionaries(st.sampled_from("xy"), NAMES))


@given(RIGHTS, RIGHTS)
def test_wider_is_not_a_subset(old: TokenClaims, new: TokenClaims) -> None:
    """The old token is wider if and only if its set of rights is no part of the new one's."""

    def rights(token: TokenClaims) -> set[tuple[str, ...]]:
        of_clients = {("client", client, role) for client, roles in token.client_roles.items() for role in roles}
        return {("role", r) for r in token.realm_roles} | {("aud", a) for a in token.audiences} | of_clients

    assert wider_than(old, new) == (not rights(old) <= rights(new))


def test_credentials_and_minted_tokens_show_nothing() -> None:
    """The values that carry a secret through the reconcilers do not print it."""
    shown = repr(ClientCredentials("id", Sensitive("hush"))) + repr(MintedToken(Sensitive("hush"), GOOD))
    assert "hush" not in shown


SITED = replace(GOOD, extra={"site": "a", "nonce-of-scope": "1"})


@pytest.mark.parametrize(
    ("extra", "faults"),
    [
        pytest.param({"site": "a"}, (), id="as declared"),
        pytest.param({"site": "a", "more": "x"}, (), id="more than declared: a client scope's"),
        pytest.param({"site": "b"}, 1, id="another value"),
        pytest.param({}, 1, id="missing"),
    ],
)
def test_a_declared_claim_is_part_of_the_proof(extra: dict[str, str], faults: object) -> None:
    """A token whose claim says something else is never published."""
    told = token_faults(replace(GOOD, extra=extra), replace(BOT.expectation(), claims={"site": "a"}))
    assert told == (("claim site is not as declared (does a client scope set it too?)",) if faults else ())


@pytest.mark.parametrize(
    ("new", "declared", "wider"),
    [
        pytest.param({"site": "a", "nonce-of-scope": "1"}, {"site"}, False, id="the same"),
        pytest.param({"site": "b", "nonce-of-scope": "1"}, {"site"}, True, id="a declared one has another value"),
        pytest.param({"site": "a", "nonce-of-scope": "2"}, {"site"}, False, id="one of the realm's changes each time"),
        pytest.param({"nonce-of-scope": "1"}, (), True, id="one is gone"),
        pytest.param({**SITED.extra, "more": "x"}, {"site", "more"}, False, id="one came"),
    ],
)
def test_an_old_token_is_wider_by_its_claims(new: dict[str, str], declared: set[str], *, wider: bool) -> None:
    """What was taken out of the spec, or changed there, must not be said any more."""
    assert wider_than(SITED, replace(GOOD, extra=new), declared=declared) is wider
