"""What each kind of identity goes through, from its creation to its end, and what must be the case after each part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from fedid.domain.conditions import ConditionType, condition_of
from tests.e2e.authority import Authority
from tests.e2e.estate import Estate
from tests.e2e.tenancy import Body, Tenant, generation, is_ready
from tests.matrix.super_link import FrontedSuperLink


class Operation(StrEnum):
    """What people do to an identity, in this order."""

    CREATE = "create"
    CHANGE = "change"
    ROTATE = "rotate"
    OVERLAP_ENDS = "overlap ends"
    REPLACE = "replace without overlap"
    REVOKE_NOW = "revoke now"
    SUSPEND = "suspend"
    RESUME = "resume"
    DELETE = "delete"


ENDS = frozenset({Operation.REVOKE_NOW, Operation.SUSPEND, Operation.DELETE})
"""After which nothing is good that was good before."""
ASKED = "1"
"""What annotations say: each asks once in a life."""
NOTHING = Estate((), (), (), ())


@dataclass(frozen=True, slots=True)
class Ground:
    """What there is for the manifests to name."""

    federation: str
    """A Federation that grants all of them what they ask for."""
    super_link: FrontedSuperLink


@dataclass(slots=True)
class Life(ABC):
    """Identities of one kind, which all do the same at the same time.

    Each has what was its own before the operation under way, so that it can be seen whether that ended.
    """

    kind: ClassVar[str]
    """Of the object that is worked on."""
    title: ClassVar[str]
    """As the table says it."""
    operations: ClassVar[tuple[Operation, ...]]
    builds_on: ClassVar[Mapping[Operation, Operation]] = {}
    """Operations that make other requests where another one was before."""
    tenant: Tenant
    authority: Authority
    ground: Ground
    names: tuple[str, ...]

    bodies: dict[tuple[str, str], Body] = field(default_factory=dict, repr=False)
    """By kind and name, as they were at the last look."""

    @abstractmethod
    def act(self, operation: Operation, name: str) -> None:
        """Do it to one, as a person does; nothing is waited for."""

    def meanwhile(self, operation: Operation, name: str) -> None:  # noqa: B027 - most do nothing
        """Do what others do to one that waits for the kill."""

    @abstractmethod
    def settled(self, operation: Operation, name: str) -> bool:
        """Tell whether the operator is done with one."""

    @abstractmethod
    def check(self, operation: Operation, name: str) -> None:
        """See that everything about one is as its manifest says, and that nothing that was ended is good any more.

        Raises:
            AssertionError: Says what is not.
        """

    @abstractmethod
    def estate(self, operation: Operation, name: str) -> Estate:
        """Return what must be there of one after an operation."""

    def owner_of(self, row: str) -> str:
        """Return the title of the object that a row is about."""
        del row
        return self.title

    def clean(self) -> None:
        """Delete what is left of the objects themselves."""
        for name in self.names:
            self.tenant.delete(self.kind, name)

    def get(self, name: str, kind: str | None = None) -> Body:
        """Return an object as it was at the last look; empty if there was none."""
        return self.bodies.get((kind or self.kind, name), {})

    def status(self, name: str) -> dict[str, Any]:
        """Return its status."""
        return dict(self.get(name).get("status") or {})

    def ready(self, name: str, kind: str | None = None) -> bool:
        """Tell whether an object is Ready in its newest generation."""
        body = self.get(name, kind)
        return bool(body) and is_ready(body)

    def says(self, name: str, reason: str, kind: str | None = None) -> bool:
        """Tell whether an object is not Ready for a reason, in its newest generation."""
        body = self.get(name, kind)
        found = condition_of((body.get("status") or {}).get("conditions") or (), ConditionType.READY)
        return found is not None and found["reason"] == reason and found["observedGeneration"] == generation(body)


def merged(estates: Iterable[Estate]) -> Estate:
    """Return all of them in one."""
    every = list(estates)
    return Estate(*(tuple(sorted(x for one in every for x in getattr(one, part))) for part in PARTS))


PARTS = ("clients", "users", "vault", "secrets")
