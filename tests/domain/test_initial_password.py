"""Tests of the initial password: what a realm's policy asks, and that what is made meets it."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.initial_password import (
    CURRENT,
    PasswordPolicy,
    is_pending,
    make_password,
    parse_password_policy,
    password_entry,
)
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendRejectedError


def made(policy: PasswordPolicy, username: str = "ana", email: str | None = None, seed: int = 1) -> str:
    """Return a password that is random, and the same each time."""
    dice = random.Random(seed)  # noqa: S311 - a test that fails has to fail again
    return make_password(policy, username, email, choose=dice.choice, shuffle=dice.shuffle).reveal()


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        pytest.param("", PasswordPolicy(), id="none"),
        pytest.param("length(12)", PasswordPolicy({"length": 12}), id="one"),
        pytest.param("length and digits()", PasswordPolicy({"length": 8, "digits": 1}), id="Keycloak's defaults"),
        pytest.param(
            "length(12) and maxLength(64) and digits(2) and lowerCase(1) and upperCase(3) and specialChars(1)",
            PasswordPolicy(
                {"length": 12, "maxLength": 64, "digits": 2, "lowerCase": 1, "upperCase": 3, "specialChars": 1}
            ),
            id="every count",
        ),
        pytest.param(
            "hashIterations(5) and passwordHistory(3) and notUsername(undefined) and notEmail(undefined)",
            PasswordPolicy(),
            id="what every random password meets",
        ),
        pytest.param("notContainsUsername(undefined)", PasswordPolicy(without_username=True), id="not a part of it"),
        pytest.param(
            "regexPattern(^[a-z]+$) and ownPolicy(1)",
            PasswordPolicy(unknown=("ownPolicy", "regexPattern")),
            id="what only Keycloak can judge",
        ),
    ],
)
def test_a_policy_is_read_as_keycloak_writes_it(text: str, policy: PasswordPolicy) -> None:
    """Ids with a value in brackets, joined by `and`."""
    assert parse_password_policy(text) == policy


COUNTS = st.fixed_dictionaries(
    {},
    optional={
        "length": st.integers(0, 60),
        "maxLength": st.integers(1, 80),
        "digits": st.integers(0, 6),
        "lowerCase": st.integers(0, 6),
        "upperCase": st.integers(0, 6),
        "specialChars": st.integers(0, 6),
    },
)


@given(
    COUNTS,
    st.sampled_from([frozenset(), frozenset({"username"})]),
    st.sampled_from(["a", "ana", "0", "ana@site-a.example"]),
    st.integers(0, 1000),
)
def test_what_is_made_meets_the_policy_or_cannot(
    counts: dict[str, int], apart: frozenset[str], username: str, seed: int
) -> None:
    """Every count holds, or no password at all could make them hold."""
    kinds = ("digits", "lowerCase", "upperCase", "specialChars")
    least = max(counts.get("length", 0), sum(counts.get(kind, 0) for kind in kinds), 1)
    policy = PasswordPolicy(counts, without_username="username" in apart)
    if least > counts.get("maxLength", least):
        with pytest.raises(BackendRejectedError) as refused:
            made(policy, username, seed=seed)
        assert refused.value.reason == "PasswordPolicyUnmet"
        return
    found = made(policy, username, seed=seed)
    assert counts.get("length", 0) <= len(found) <= counts.get("maxLength", len(found))
    assert sum(letter in string.digits for letter in found) >= counts.get("digits", 0)
    assert sum(letter.islower() for letter in found) >= counts.get("lowerCase", 0)
    assert sum(letter.isupper() for letter in found) >= counts.get("upperCase", 0)
    assert sum(not letter.isalnum() for letter in found) >= counts.get("specialChars", 0)
    assert not ("username" in apart and username.lower() in found.lower())


def test_a_short_one_is_neither_username_nor_address() -> None:
    """Of one letter, and the one that is left."""
    policy = PasswordPolicy({"maxLength": 1, "digits": 1})
    names = iter(["7", "8"])
    assert {made(policy, "7", "8", seed=seed) for seed in range(200)} == set(string.digits) - set(names)


def test_passwords_of_a_usual_policy_are_long_and_different() -> None:
    """Two of them never meet."""
    found = {made(parse_password_policy("length(8)"), seed=seed) for seed in range(500)}
    assert len(found) == 500
    assert {len(one) for one in found} == {24}


def test_an_entry_tells_its_state() -> None:
    """Pending until Keycloak has taken it; what is no entry of ours is not pending."""
    entry = password_entry("ana", Sensitive("x"))
    assert is_pending(entry)
    assert not is_pending({**entry, **CURRENT})
    assert not is_pending({})
    assert not is_pending({"state": Sensitive("pending")})
