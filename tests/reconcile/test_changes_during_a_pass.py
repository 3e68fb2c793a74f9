"""A spec that changes while a pass over the former one runs: what is told is true of what was judged."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

SHORT = {"tokens": [{"name": "default", "lifetime": "12s"}, {"name": "uploads", "lifetime": "12s"}]}
LONG = {"tokens": [{"name": "default", "lifetime": "10m"}]}
BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")


def _changes_at_the_next_mint(operator: SmallOperator, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mint = operator.provider.mint

    async def and_then(*arguments: Any) -> Any:
        monkeypatch.setattr(operator.provider, "mint", mint)
        operator.cluster.apply(BOT_CLIENT, NAMESPACE, BOT.name, spec)
        return await mint(*arguments)

    monkeypatch.setattr(operator.provider, "mint", and_then)


async def test_ready_is_never_said_of_a_generation_that_no_pass_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass that began before the change ends as it began; the next one takes the token away and then says so."""
    operator = SmallOperator()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, BOT.name, SHORT)
    _changes_at_the_next_mint(operator, LONG, monkeypatch)
    told: list[tuple[int, int, int]] = []
    patch_status = operator.cluster.patch_status

    async def note(body: Any, patch: Any) -> Any:
        written = await patch_status(body, patch)
        status = (written or {}).get("status") or {}
        stored = len(await operator.store.names(f"fedid/{NAMESPACE}/bots/trainer/tokens"))
        if body["kind"] == BOT_CLIENT and any(
            c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()
        ):
            told.append((written["metadata"]["generation"], status["observedGeneration"], stored))
        return written

    monkeypatch.setattr(operator.cluster, "patch_status", note)
    await operator.settle()

    assert told == [(2, 1, 2), (2, 2, 1)], "generation, the one that is Ready, and tokens in Vault"
    ready = operator.status(BOT_CLIENT, BOT.name)["conditions"][0]
    assert (ready["status"], ready["observedGeneration"]) == ("True", 2)


async def test_what_only_the_answer_to_our_own_write_tells_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch tells of it too, later, and it is older then than what is known; an annotation is no generation."""
    operator = SmallOperator()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, BOT.name, LONG)
    await operator.settle()
    patch_status = operator.cluster.patch_status

    async def after_a_change(body: Any, patch: Any) -> Any:
        if body["kind"] != BOT_CLIENT:
            return await patch_status(body, patch)
        monkeypatch.setattr(operator.cluster, "patch_status", patch_status)
        watch, operator.cluster.on_change = operator.cluster.on_change, None
        operator.cluster.apply(BOT_CLIENT, NAMESPACE, BOT.name, LONG, annotations={"fedid.io/rotate": "token-1"})
        written = await patch_status(body, patch)
        operator.cluster.on_change = watch
        return written

    monkeypatch.setattr(operator.cluster, "patch_status", after_a_change)
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, BOT.name, LONG, annotations={"fedid.io/rotate": "token-0"})
    await operator.advance(10)
    assert operator.status(BOT_CLIENT, BOT.name)["tokens"][0]["rotatedFor"] == "token-1"
