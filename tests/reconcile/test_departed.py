"""An object that the API server removes although our finalizer was set a moment before: nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_receipts import KINDS, RECEIPT, RULE, receipts

AWAY = BackendUnavailableError("no answer", backend="keycloak")
EACH_KIND = pytest.mark.parametrize("kind", sorted(KINDS))


class Racing(SmallOperator):
    """Removes the first object of a kind that gets a finalizer, once it has it, or even was looked for once more."""

    def __init__(self, kind: str, *, seen: bool = True, late: bool = True) -> None:
        """Be about to; with `seen`, the watch tells of it at once, else only when somebody writes to it."""
        super().__init__()
        spec = self.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.cluster.apply(FEDERATION, None, "local", {**spec, "grants": [RULE]})
        self.kind = kind
        self.removed = 0
        self._seen_at_once = seen
        self._set, self._read = self.cluster.set_finalizers, self.cluster.read
        if late:
            self.cluster.read = self._read_and_remove  # type: ignore[method-assign]
        else:
            self.cluster.set_finalizers = self._set_and_remove  # type: ignore[method-assign]

    async def _set_and_remove(self, body: Any, finalizers: tuple[str, ...]) -> Any:
        written = await self._set(body, finalizers)
        if body["kind"] == self.kind and finalizers:
            self._remove(body["metadata"]["name"])
        return written

    async def _read_and_remove(self, kind: str, namespace: str, name: str) -> Any:
        found = await self._read(kind, namespace, name)
        if kind == self.kind and found is not None and found["metadata"].get("finalizers"):
            self._remove(name)
        return found

    def _remove(self, name: str) -> None:
        if not self.removed:
            self.removed += 1
            gone = self.cluster.bodies.pop(ObjectKey(self.kind, NAMESPACE, name))
            if self._seen_at_once:
                self.cluster.on_change(gone, True)

    def left(self) -> list[str]:
        """Return what Keycloak and Vault hold for namespaces."""
        realm, now = self.provider.realm, self.clock.now()
        entries = [path for path, entry in self.store.entries.items() if NAMESPACE in path and entry.shown(now)]
        clients = [one.client_id for one in realm.clients.values() if one.client_id.startswith(NAMESPACE)]
        return [*clients, *(user.record.username for user in realm.users.values()), *entries]


@EACH_KIND
@pytest.mark.parametrize("seen", [True, False])
async def test_nothing_is_made_for_one_that_is_gone_by_then(kind: str, *, seen: bool) -> None:
    """So a crash in these seconds leaves nothing behind."""
    operator = Racing(kind, seen=seen, late=False)
    operator.cluster.apply(kind, NAMESPACE, "one", KINDS[kind])
    await operator.advance(30)
    assert operator.removed == 1
    assert operator.left() == []
    made = {call.operation for call in operator.provider.calls} & {"create_client", "create_user", "mint"}
    assert made == set()
    assert [call for call in operator.store.writes if NAMESPACE in call.path and call.operation != "destroy"] == []


@EACH_KIND
@pytest.mark.parametrize("seen", [True, False])
async def test_what_was_made_of_it_ends(kind: str, *, seen: bool) -> None:
    """Whether the watch was faster than the pass or slower; the proof is left as of any other end."""
    operator = Racing(kind, seen=seen)
    operator.cluster.apply(kind, NAMESPACE, "one", KINDS[kind])
    await operator.advance(30)
    assert operator.removed == 1
    assert operator.left() == []
    (found,) = receipts(operator)
    assert found["cause"] == "Deleted"
    assert "provenAt" in found
    assert found["evidence"]
    assert "departed" in {line["step"].lower() for line in operator.audited}
    writes = len(operator.provider.calls)
    await operator.look()
    await operator.advance(60)
    assert len(receipts(operator)) == 1
    assert "delete" not in {call.operation for call in operator.provider.calls[writes:]}


async def test_it_is_waited_for_a_backend_that_is_away() -> None:
    """Then it goes on, without anybody's asking."""
    operator = Racing(BOT_CLIENT)
    operator.provider.failures.add("mint", AWAY, times=None)
    operator.provider.failures.add("delete_client", AWAY, times=None)
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", KINDS[BOT_CLIENT])
    await operator.advance(60)
    assert operator.left() != []
    operator.provider.failures.clear()
    await operator.advance(60)
    assert operator.left() == []


async def test_one_that_takes_its_name_comes_after_it() -> None:
    """With a client of its own, and nothing of the former is good."""
    operator = Racing(BOT_CLIENT)
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", KINDS[BOT_CLIENT])
    operator.provider.failures.add("delete_client", AWAY, times=None)
    await operator.advance(20)
    path = f"fedid/{NAMESPACE}/bots/one/tokens/default"
    former = [Sensitive(text) for text in operator.provider.realm.tokens]
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", KINDS[BOT_CLIENT])
    await operator.advance(20)
    operator.provider.failures.clear()
    await operator.advance(60)
    assert operator.status(BOT_CLIENT, "one")["conditions"][0]["status"] == "True"
    assert former
    assert [token for token in former if operator.provider.realm.accepts(token)] == []
    assert operator.provider.realm.accepts(Sensitive(operator.store.data_of(path)["token"]))
    assert len([key for key in operator.cluster.bodies if key.kind == RECEIPT]) == 1


@pytest.mark.parametrize("kind", [BOT_CLIENT, FEDERATION_USER, POD_IDENTITY])
async def test_an_ordinary_life_departs_never(kind: str) -> None:
    """Made, deleted, and gone by our own hand."""
    operator = Racing("nothing of the kind")
    operator.cluster.apply(kind, NAMESPACE, "one", KINDS[kind])
    await operator.advance(5)
    operator.cluster.delete(kind, NAMESPACE, "one")
    await operator.advance(30)
    assert ObjectKey(kind, NAMESPACE, "one") not in operator.cluster.bodies
    assert "Departed" not in {line["step"] for line in operator.audited}
    assert len(receipts(operator)) == 1
