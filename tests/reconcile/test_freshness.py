"""What is remembered of looks: for how long they hold, and which secrets they saw."""

from __future__ import annotations

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT
from fedid.domain.sensitive import Sensitive
from fedid.reconcile.freshness import Freshness, SecretSightings

BOT = ObjectKey(BOT_CLIENT, "site-a", "trainer")
OURS, FOREIGN = Sensitive("ours"), Sensitive("by-hand")


def test_trust_is_only_for_what_this_process_knows_nothing_about() -> None:
    """Whatever was doubted, or looked at, is not trusted over that."""
    freshness = Freshness()
    freshness.trust(BOT, "uid", 1, 100.0)
    assert freshness.is_fresh(BOT, "uid", 1, 99.0)
    assert not freshness.is_fresh(BOT, "uid", 2, 99.0)
    freshness.expire(BOT)
    freshness.trust(BOT, "uid", 1, 100.0)
    assert not freshness.is_fresh(BOT, "uid", 1, 99.0)
    freshness.looked(BOT, "uid", 1, 50.0)
    freshness.trust(BOT, "uid", 1, 100.0)
    assert freshness.until(BOT) == 50.0


def test_two_sides_agree_until_one_is_seen_to_hold_another_secret() -> None:
    """Whichever was seen first; one alone tells nothing."""
    seen = SecretSightings()
    assert seen.in_keycloak(BOT, OURS)
    assert seen.in_vault(BOT, OURS)
    assert not seen.in_keycloak(BOT, FOREIGN)
    assert not seen.in_vault(BOT, OURS)
    assert seen.in_vault(BOT, FOREIGN)
    assert not seen.in_vault(BOT, None)
    seen.forget(BOT)
    assert seen.in_vault(BOT, OURS)


def test_no_secret_is_kept() -> None:
    """Not even as a digest that another process could compare."""
    one, other = SecretSightings(), SecretSightings()
    for seen in (one, other):
        seen.in_keycloak(BOT, OURS)
    kept = [value for seen in (one, other) for value in vars(seen)["_keycloak"].values()]
    assert len(set(kept)) == 2
    assert not any(b"ours" in value for value in kept)
