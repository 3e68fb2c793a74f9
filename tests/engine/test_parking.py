"""Tests of which keys wait for what."""

from __future__ import annotations

from fedid.engine.parking import Parking


def test_released_are_those_of_the_cause_longest_parked_first() -> None:
    """A release takes out the keys of its cause and leaves those of others."""
    parking: Parking[str] = Parking()
    for key, cause in [("b", "vault"), ("a", "vault"), ("c", "keycloak")]:
        assert parking.park(key, cause, since=0.0)
    assert parking.release("vault", 1.0) == ["b", "a"]
    assert parking.release("vault", 1.0) == []
    assert (parking.count("vault"), parking.count("keycloak")) == (0, 1)


def test_a_key_waits_for_one_cause_at_a_time() -> None:
    """Parked again for another cause, a key no longer waits for the former."""
    parking: Parking[str] = Parking()
    parking.park("a", "vault", since=0.0)
    parking.park("a", "keycloak", since=0.0)
    assert parking.release("vault", 1.0) == []
    assert parking.release("keycloak", 1.0) == ["a"]


def test_a_key_that_leaves_is_not_released() -> None:
    """A key that left is nobody's, and leaving twice or unparked does nothing."""
    parking: Parking[str] = Parking()
    parking.park("a", "vault", since=0.0)
    parking.leave("a")
    parking.leave("a")
    assert parking.release("vault", 1.0) == []


def test_who_met_the_cause_before_its_release_is_not_parked() -> None:
    """A key whose pass began before the release and failed after it would never be woken, so it is refused."""
    parking: Parking[str] = Parking()
    parking.release("vault", 5.0)
    assert not parking.park("a", "vault", since=4.0)
    assert parking.park("a", "vault", since=6.0)
    assert parking.park("b", "keycloak", since=4.0)
