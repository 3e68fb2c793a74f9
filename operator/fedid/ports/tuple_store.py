"""One OpenFGA store: its relationship tuples."""

from __future__ import annotations

from typing import Protocol

from fedid.domain.openfga import RelationTuple

__all__ = ["TupleStore"]


class TupleStore(Protocol):
    """The tuples of one store. Whatever is read, is read from the database and from no cache.

    Every method raises:
        BackendDeniedError: The server refuses our key, or wants one.
        BackendRejectedError: The store or the model is not there (reasons `StoreNotFound`, `ModelNotFound`), or the
            model does not know what the tuple names.
    """

    async def probe(self) -> str:
        """Look whether the store and the model are there, and return the store's name; changes nothing."""

    async def users(self, object_: str, relation: str) -> frozenset[str]:
        """Return the users of all tuples with this object and relation."""

    async def write(self, wanted: RelationTuple) -> bool:
        """Write a tuple; False if it was there already."""

    async def delete(self, unwanted: RelationTuple) -> None:
        """Delete a tuple; success if it is not there."""

    async def allowed(self, asked: RelationTuple) -> bool:
        """Tell whether the user has the relation with the object, by whatever tuples."""

    async def aclose(self) -> None:
        """Close its connections."""
