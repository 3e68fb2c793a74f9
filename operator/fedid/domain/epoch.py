"""Epochs: which of several copies of one installation writes to the backends of a Federation.

Who restores a cluster from a backup, or copies it, has two clusters with one installation id and one set of owner
marks. A record in Vault counts the leaderships of an installation, and the cluster remembers the one that it claimed
last. A cluster that remembers another epoch than Vault holds is such a copy, or older than what lies in Vault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedid.domain.sensitive import Sensitive

__all__ = ["TAKE_OVER", "Epoch", "RememberedEpoch", "epoch_in", "epoch_path", "number_to_claim"]

TAKE_OVER = "fedid.io/take-over"
"""Annotation of a Federation: the number of the epoch over which a person puts this cluster."""
_FOLDER = ".fedid"
"""No namespace is called so: DNS labels begin with a letter or a digit."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One leadership of one copy."""

    number: int
    nonce: str
    """Tells claims of the same number apart."""

    def data(self) -> dict[str, Sensitive]:
        """Return it as Vault keeps it; it is no secret, but everything that is written there has this type."""
        return {"epoch": Sensitive(str(self.number)), "nonce": Sensitive(self.nonce)}


@dataclass(frozen=True, slots=True)
class RememberedEpoch:
    """What a cluster remembers of its claims, for one Federation."""

    held: Epoch | None = None
    """The last one that Vault is known to have taken."""
    begun: Epoch | None = None
    """Written before Vault is asked, so that a claim whose answer was lost is known as our own."""
    version: str = ""
    """Of what it was read from: whoever writes it must have seen the newest."""

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """Both, as far as there are."""
        return tuple(one for one in (self.held, self.begun) if one is not None)

    def beginning(self, epoch: Epoch, found: Epoch | None) -> RememberedEpoch:
        """Return it with the next claim begun.

        What Vault holds stays known: if it is a claim of which only the beginning was remembered, it would else be
        forgotten for the next one, and be another's to whoever comes after a second crash.
        """
        held = found if found is not None and found in self.epochs else self.held
        return replace(self, held=held, begun=epoch)

    def as_json(self) -> dict[str, Any]:
        """Return it as the cluster keeps it, empty if there is nothing to remember."""
        parts = {"held": self.held, "begun": self.begun}
        return {name: {"epoch": one.number, "nonce": one.nonce} for name, one in parts.items() if one is not None}

    @classmethod
    def from_json(cls, kept: object, version: str) -> RememberedEpoch:
        """Return what `as_json` wrote; what is none of that counts as forgotten, and Vault's record as another's."""
        parts = kept if isinstance(kept, Mapping) else {}
        return cls(_kept(parts.get("held")), _kept(parts.get("begun")), version)


def epoch_path(prefix: str, installation_id: str, federation: str) -> str:
    """Return where in the Federation's mount its epoch lies: below its prefix, and where no namespace's entries can."""
    return f"{prefix}/{_FOLDER}/{installation_id}/{federation}"


def epoch_in(data: Mapping[str, Sensitive]) -> Epoch | None:
    """Return the epoch in an entry, None if it has no data; what cannot be read is an epoch of nobody that we know."""
    if not data:
        return None
    number = data["epoch"].reveal() if "epoch" in data else ""
    nonce = data["nonce"].reveal() if "nonce" in data else ""
    return Epoch(int(number) if number.isascii() and number.isdigit() else 0, nonce)


def number_to_claim(remembered: RememberedEpoch, found: Epoch | None, word: str | None) -> int | None:
    """Return the number of the next epoch, None if a person has to say that this cluster is the one that goes on.

    Args:
        remembered: By the cluster.
        found: In Vault; None: no record, so nobody else claims to be this installation there.
        word: What the annotation says. It names the very epoch that was found, so one in an old backup never counts.
    """
    if found is not None and found not in remembered.epochs and word != str(found.number):
        return None
    newest = max((one.number for one in (remembered.held, found) if one is not None), default=0)
    # One that was begun and is not in Vault may still be on its way there: it is claimed again, under its own nonce.
    return max(newest + 1, remembered.begun.number if remembered.begun is not None else 0)


def _kept(part: object) -> Epoch | None:
    if not isinstance(part, Mapping):
        return None
    number, nonce = part.get("epoch"), part.get("nonce")
    return Epoch(number, nonce) if isinstance(number, int) and isinstance(nonce, str) else None
