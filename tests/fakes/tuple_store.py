"""An OpenFGA store in memory: a `TupleStore` with the semantics of OpenFGA 1.22.

tests/contract/test_tuple_store.py holds it against a real server. Calls can be made to fail `before` and `after`.
"""

from __future__ import annotations

import asyncio

from fedid.domain.conditions import Reason
from fedid.domain.openfga import RelationTuple
from fedid.errors import BackendRejectedError
from tests.fakes.failures import Failures


class FakeTupleStore:
    """A `TupleStore` whose model knows one relation of one type, for accounts of Flower."""

    def __init__(self, name: str = "grid") -> None:
        """Start with Flower's model and no tuple."""
        self.name = name
        self.tuples: set[RelationTuple] = set()
        self.exists = True
        self.has_model = True
        self.writes: list[RelationTuple] = []
        """What was written or deleted, in order; not what was there already."""
        self.failures = Failures()
        self.closed = False

    async def probe(self) -> str:
        """Look whether store and model are there."""
        await self._begin("probe", "")
        self._require_model()
        return self.name

    async def users(self, object_: str, relation: str) -> frozenset[str]:
        """Return the users of all tuples with this object and relation."""
        await self._begin("users", object_)
        return frozenset(one.user for one in self.tuples if (one.object, one.relation) == (object_, relation))

    async def write(self, wanted: RelationTuple) -> bool:
        """Write a tuple."""
        await self._begin("write", str(wanted))
        self._require_known(wanted)
        made = wanted not in self.tuples
        if made:
            self.tuples.add(wanted)
            self.writes.append(wanted)
        self.failures.strike("write", str(wanted), "after")
        return made

    async def delete(self, unwanted: RelationTuple) -> None:
        """Delete a tuple."""
        await self._begin("delete", str(unwanted))
        if unwanted in self.tuples:
            self.tuples.discard(unwanted)
            self.writes.append(unwanted)
        self.failures.strike("delete", str(unwanted), "after")

    async def allowed(self, asked: RelationTuple) -> bool:
        """Ask for a decision."""
        await self._begin("allowed", str(asked))
        self._require_known(asked)
        return asked in self.tuples

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _require_known(self, named: RelationTuple) -> None:
        self._require_model()
        types = [text.partition(":")[0] for text in (named.user, named.object)]
        if (*types, named.relation) != ("flwr_aid", "service", "has_access"):
            message = "the authorization model does not know it"
            raise BackendRejectedError(message, backend="openfga")

    def _require_model(self) -> None:
        if not self.has_model:
            message = "the store has no authorization model"
            raise BackendRejectedError(message, backend="openfga", reason=Reason.MODEL_NOT_FOUND)

    async def _begin(self, operation: str, target: str) -> None:
        # A turn of the loop, so that calls at the same time interleave as they would with a server.
        await asyncio.sleep(0)
        self.failures.strike(operation, target, "before")
        if not self.exists:
            message = "there is no such store"
            raise BackendRejectedError(message, backend="openfga", reason=Reason.STORE_NOT_FOUND)
