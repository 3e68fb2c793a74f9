"""The smallest world that the plan of a signing bot can act on: one list of keys, one entry in Vault, one consumer.

It carries out each step as the application of a plan does, refuses what the real backends would refuse, and can stop
after any step, as a crash would.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fedid.adapters.signing_keys import new_signing_key, readable_key
from fedid.domain.bot import DesiredBot, DesiredSecretRotation
from fedid.domain.bot_authentication import PrivateKeyJwt, SigningKey
from fedid.domain.bot_keys import HeldKeys, KeySlot, held_keys, public_keys_in
from fedid.domain.bot_plan import plan_bot
from fedid.domain.bot_record import desired_client
from fedid.domain.bot_steps import (
    BotStep,
    CreateClient,
    EndKeys,
    ObservedBot,
    ProveSecret,
    PublishKey,
    Recorded,
    StageKey,
    UpdateClient,
)
from fedid.domain.handover import Handover
from fedid.domain.key_plan import key_entry
from fedid.domain.realm import ClientRecord
from fedid.domain.rotation import RotationRequest
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.reconcile.bot_keys import listed_by
from tests.domain.samples import NOW, OWNER, UID, desired

OVERLAP = timedelta(minutes=1)
SIGNER = desired(
    authentication=PrivateKeyJwt(),
    tokens=(),
    realm_roles=frozenset(),
    client_roles={},
    rotation=DesiredSecretRotation(None, OVERLAP),
)


@dataclass
class KeyWorld:
    """Keycloak, Vault, the status and a pod of one bot, as they stand."""

    bot: DesiredBot = SIGNER
    now: datetime = NOW
    client: ClientRecord | None = None
    stored: StoredEntry | None = None
    recorded: Recorded = field(default_factory=Recorded)
    request: RotationRequest | None = None
    mounted: str | None = None
    """Id of the key that the pod has."""
    strangers: set[str] = field(default_factory=set)
    """Ids of keys that somebody else made."""

    @property
    def held(self) -> HeldKeys:
        """What Vault has."""
        return held_keys(self.stored.data, readable_key) if self.stored is not None else HeldKeys()

    @property
    def listed(self) -> set[str]:
        """Ids of the keys that are good."""
        return set(public_keys_in(self.client.attributes)) if self.client is not None else set()

    def observe(self) -> ObservedBot:
        """Return what a pass sees."""
        current = self.held.current
        holds = current is not None and self.mounted in {None, current.key_id}
        return ObservedBot(
            keycloak_seen=True,
            client=self.client,
            stored_client=self.stored,
            keys=self.held,
            handover=Handover(missing=not holds),
            recorded=self.recorded,
        )

    def plan(self) -> tuple[BotStep, ...]:
        """Return the plan of a pass now."""
        return plan_bot(self.bot, self.observe(), frozenset(), UID, self.now, self.request)

    def run(self, steps: int | None = None) -> tuple[BotStep, ...]:
        """Run one pass and return its plan; with `steps` it stops after so many and never writes its status."""
        plan, known = self.plan(), self.held.by_slot
        begun = self.held
        for step in plan[:steps]:
            self._take(step, known, begun, listed_by(plan))
        if steps is None:
            current = self.held.current
            self.recorded = Recorded(
                key_id=current.key_id if current is not None else None,
                secret_version=self.stored.version if self.stored is not None else None,
            )
            self.request = None
        return plan

    def mount(self) -> None:
        """Let the pod have what is published."""
        current = self.held.current
        self.mounted = current.key_id if current is not None else None

    def list_keys(self, keys: Iterable[SigningKey]) -> None:
        """Have the client list these keys."""
        wanted = desired_client(self.bot, secret=None, keys=[key.public_key for key in keys])
        self.client = replace(wanted, not_before=0)

    def write(self, data: dict[str, Sensitive]) -> None:
        """Write Vault's entry."""
        self.stored = StoredEntry(data, (self.stored.version if self.stored is not None else 0) + 1, OWNER)

    def stranger(self) -> SigningKey:
        """Return a key of somebody else."""
        made = new_signing_key()
        self.strangers.add(made.key_id)
        return made

    def _take(
        self, step: BotStep, known: dict[KeySlot, SigningKey], begun: HeldKeys, listed: tuple[KeySlot, ...]
    ) -> None:
        match step:
            case StageKey(version):
                assert version == (self.stored.version if self.stored is not None else None), "check-and-set refuses it"
                known[KeySlot.PENDING] = new_signing_key()
                self.write(
                    key_entry(
                        self.bot,
                        known.get(KeySlot.CURRENT),
                        issued_at=begun.issued_at,
                        pending=known[KeySlot.PENDING],
                        previous=known.get(KeySlot.PREVIOUS),
                    )
                )
            case CreateClient(keys=slots) | UpdateClient(keys=slots):
                assert isinstance(step, UpdateClient) == (self.client is not None)
                chosen = [known[slot] for slot in slots]
                kept = {key.key_id for key in self.held.by_slot.values()}
                assert {key.key_id for key in chosen} <= kept, "a key is listed that a crash would lose"
                self.list_keys(chosen)
            case EndKeys():
                good = {known[slot].key_id for slot in listed}
                ended = {key.key_id for key in begun.by_slot.values()} - good
                assert not ended & self.listed, "a key that was ended is accepted"
            case ProveSecret():
                slot = KeySlot.PENDING if KeySlot.PENDING in listed else KeySlot.CURRENT
                assert known[slot].key_id in self.listed, "Keycloak refuses the key"
            case PublishKey(slots):
                pending = KeySlot.PENDING in slots
                current = known[KeySlot.PENDING if pending else KeySlot.CURRENT]
                before = KeySlot.CURRENT if pending else KeySlot.PREVIOUS
                previous = known[before] if before in slots else None
                issued_at = self.now if pending else begun.issued_at or self.now
                self.write(key_entry(self.bot, current, issued_at=issued_at, previous=previous))
            case _:
                message = f"no step of such a bot: {step}"
                raise AssertionError(message)


def settled() -> KeyWorld:
    """Return the world after a bot was made and a pod has its key."""
    world = KeyWorld()
    world.run()
    world.mount()
    return world
