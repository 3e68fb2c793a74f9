"""A spec that is changed, and changed back before the first change was carried out."""

from __future__ import annotations

from datetime import timedelta

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

TOKEN_PATH = f"fedid/{NAMESPACE}/bots/trainer/tokens/default"


async def test_a_token_that_was_revoked_for_a_change_is_not_kept_for_its_taking_back() -> None:
    """It says what is wanted again, and all but Keycloak takes it for good."""
    operator = SmallOperator()
    for role in ("fl-client", "fl-member"):
        operator.provider.realm.add_role(role)

    rules = [{"namespaces": {"names": [NAMESPACE]}, "realmRoles": ["fl-*"]}]
    federation = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    operator.cluster.apply(FEDERATION, None, "local", {**federation, "grants": rules})

    def want(role: str) -> None:
        spec = {"realmRoles": [role], "tokens": [{"name": "default", "lifetime": "1h"}]}
        operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec)

    def published() -> Sensitive:
        return Sensitive(operator.store.data_of(TOKEN_PATH)["token"])

    want("fl-client")
    await operator.advance(10)
    before = published()
    assert operator.provider.realm.accepts(before)
    away = BackendUnavailableError("away", backend="vault", retry_after=timedelta(seconds=1))
    operator.store.failures.add("write", away, times=None, when=lambda path: path == TOKEN_PATH)
    want("fl-member")
    await operator.advance(5)
    assert published() == before
    assert not operator.provider.realm.accepts(before), "the right that was taken ended at once"
    want("fl-client")
    operator.restart()
    operator.store.failures.clear()
    await operator.advance(60)
    assert operator.provider.realm.accepts(published())
    assert operator.status(BOT_CLIENT, "trainer")["conditions"][0]["reason"] == "Ready"
    told = [line["why"] for line in operator.audited if line["step"] == "MintToken"]
    assert told[-1] == "it was revoked before another took its place"
