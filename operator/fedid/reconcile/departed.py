"""Objects that went while they were first held, and what is known of them, so that what was made of them ends too.

A deletion that the API server begins before our finalizer is on may still remove the object right after: it tries again
against the newer version, and does not look for finalizers anew. The pass that has just set it would then make a client
and tokens for nobody. So it looks for the object once more before it makes anything (`gate.require_still_there`); and
should it go even later, it is kept here until a pass has seen it alive, and is taken down from memory otherwise.
A restart in between loses it; then it is an orphan, which is told.

Source: k8s.io/apiserver 0.36, `conditionalDelete` of pkg/storage/etcd3/store.go, called once `Delete` of
pkg/registry/generic/registry/store.go has decided that nothing holds the object.
"""

from __future__ import annotations

from datetime import datetime

from fedid.domain.conditions import rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import Body, meta_of

__all__ = ["Departed"]


class Departed:
    """Remembers them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._begun: dict[ObjectKey, Body] = {}
        self._gone: dict[ObjectKey, Body] = {}

    def begun(self, body: Body) -> None:
        """Remember an object that has just got our finalizer."""
        self._begun[meta_of(body).key] = body

    def may_have(self, key: ObjectKey) -> bool:
        """Tell whether an object got our finalizer, and no whole pass has ended with it since."""
        return key in self._begun

    def alive(self, key: ObjectKey) -> None:
        """Take note that the object was there when a whole pass had ended."""
        self._begun.pop(key, None)

    def notice(self, key: ObjectKey, known: Body | None, now: datetime) -> bool:
        """Tell whether an object has departed since anybody asked.

        Args:
            key: Its name.
            known: The object that has the name now.
            now: The operator's clock (aware UTC); when it was deleted, as far as anybody knows.
        """
        begun = self._begun.get(key)
        if begun is None or (known is not None and known["metadata"]["uid"] == begun["metadata"]["uid"]):
            return False
        del self._begun[key]
        self._gone[key] = {**begun, "metadata": {**begun["metadata"], "deletionTimestamp": rfc3339(now)}}
        return True

    def get(self, key: ObjectKey) -> Body | None:
        """Return the departed object of that name as one that is being deleted, None if there is none."""
        return self._gone.get(key)

    def of(self, body: Body) -> Body | None:
        """Return what is known of that very object, None if it has not departed."""
        found = self._gone.get(meta_of(body).key)
        return found if found is not None and found["metadata"]["uid"] == body["metadata"]["uid"] else None

    def keep(self, body: Body) -> None:
        """Remember a newer version of one that has departed."""
        self._gone[meta_of(body).key] = body

    def let_go(self, body: Body) -> None:
        """Forget an object: its finalizer goes."""
        for held in (self._begun, self._gone):
            found = held.get(meta_of(body).key)
            if found is not None and found["metadata"]["uid"] == body["metadata"]["uid"]:
                del held[meta_of(body).key]
