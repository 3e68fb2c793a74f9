"""Who may claim the next epoch, and how it is kept."""

from __future__ import annotations

import pytest

from fedid.domain.epoch import Epoch, RememberedEpoch, epoch_in, epoch_path, number_to_claim
from fedid.domain.naming import vault_path
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError

HELD, BEGUN, OTHER = Epoch(3, "a"), Epoch(4, "b"), Epoch(3, "x")


@pytest.mark.parametrize(
    ("remembered", "found", "word", "number"),
    [
        (RememberedEpoch(), None, None, 1),
        (RememberedEpoch(HELD), HELD, None, 4),
        # Begun and not found: it is the same claim again.
        (RememberedEpoch(HELD, BEGUN), HELD, None, 4),
        (RememberedEpoch(HELD, BEGUN), BEGUN, None, 5),
        (RememberedEpoch(None, BEGUN), BEGUN, None, 5),
        # A Vault that lost everything; numbers never go back.
        (RememberedEpoch(HELD), None, None, 4),
        (RememberedEpoch(HELD, Epoch(9, "b")), None, None, 9),
        # Another copy, an older cluster, an older Vault, a cluster that remembers nothing.
        (RememberedEpoch(HELD), OTHER, None, None),
        (RememberedEpoch(HELD), Epoch(9, "a"), None, None),
        (RememberedEpoch(HELD), Epoch(2, "z"), None, None),
        (RememberedEpoch(), HELD, None, None),
        # A person's word, about this very number only.
        (RememberedEpoch(HELD), Epoch(9, "z"), "9", 10),
        (RememberedEpoch(HELD), Epoch(2, "z"), "2", 4),
        (RememberedEpoch(HELD), Epoch(9, "z"), "3", None),
        (RememberedEpoch(HELD), Epoch(9, "z"), "09", None),
    ],
)
def test_who_may_claim(remembered: RememberedEpoch, found: Epoch | None, word: str | None, number: int | None) -> None:
    """Who finds what it claimed, or nothing, goes on; anybody else needs a word."""
    assert number_to_claim(remembered, found, word) == number


def test_what_lies_in_vault() -> None:
    """It is read as it was written; what a hand has spoilt is nobody's epoch, and no data is none."""
    assert epoch_in(BEGUN.data()) == BEGUN
    assert epoch_in({}) is None
    assert epoch_in({"epoch": Sensitive("-1")}) == epoch_in({"other": Sensitive("x")}) == Epoch(0, "")


@pytest.mark.parametrize("kept", [None, [], {"held": 1}, {"held": {"epoch": "3", "nonce": "a"}}, {"begun": {}}])
def test_what_a_hand_has_spoilt_is_forgotten(kept: object) -> None:
    """It is no reason to fail, and no reason to go on without a word either."""
    assert RememberedEpoch.from_json(kept, "7") == RememberedEpoch(version="7")


def test_what_the_cluster_remembers() -> None:
    """It is read as it was written."""
    both = RememberedEpoch(HELD, BEGUN, "7")
    assert RememberedEpoch.from_json(both.as_json(), "7") == both
    assert RememberedEpoch(version="7").as_json() == {}


def test_no_namespace_lies_where_epochs_do() -> None:
    """The folder is none that an identity's path can have."""
    assert epoch_path("fedid", "i", "local").split("/") == ["fedid", ".fedid", "i", "local"]
    with pytest.raises(InvalidSpecError):
        vault_path("fedid", ".fedid", "bots")


def test_a_claim_that_vault_took_is_not_forgotten_for_the_next() -> None:
    """Two crashes in a row, each between Vault and the cluster's memory, are no other copy."""
    remembered = RememberedEpoch(HELD, BEGUN).beginning(Epoch(5, "c"), BEGUN)
    assert number_to_claim(remembered, BEGUN, None) == 5
    assert remembered.begun == Epoch(5, "c")
    assert RememberedEpoch(HELD).beginning(BEGUN, OTHER) == RememberedEpoch(HELD, BEGUN), "another's is not ours"
