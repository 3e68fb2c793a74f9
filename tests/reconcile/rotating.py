"""A bot whose credentials change, and everybody who presents one of them; on the fakes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import ClientRecord, SecretPolicy
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from tests.fakes.secret_store import FakeSecretStore
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
CLIENT_ID = f"{NAMESPACE}.trainer"
POLICY = SecretPolicy("two-secrets", timedelta(days=3650), timedelta(days=365))
HOURLY = {"every": "1h", "overlap": "5m"}
PLATFORM = "platforms"


class Rotating:
    """The operator, one bot of it with a PodIdentity, and what its clients hold."""

    def __init__(self) -> None:
        """Start with a realm that keeps two secrets and a platform's mount of KV version 1."""
        self.operator = SmallOperator()
        self.operator.provider.realm.secret_policy = POLICY
        self.operator.store.mounts[PLATFORM] = FakeSecretStore(kv_version=1, now=self.operator.clock.now)
        rule = {"namespaces": {"names": [NAMESPACE]}, "vaultPaths": [f"{PLATFORM}/*"], "scopes": ["*"]}
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": [rule]})

    @classmethod
    async def begun(cls, **spec: Any) -> Rotating:
        """Return one that is Ready."""
        made = cls()
        made.want(**spec)
        files = {"secret": "{clientSecret}", "id": "{clientId}"}
        pod = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": {"generic": {"files": files}}}
        made.operator.cluster.apply(
            POD_IDENTITY, NAMESPACE, "trainer", {**pod, "pods": {"selector": {"matchLabels": {"a": "b"}}}}
        )
        await made.operator.advance(20)
        assert made.ready() == ("True", "Ready")
        return made

    def want(self, **spec: Any) -> None:
        """Apply the bot with these fields; its annotations stay."""
        self.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec)

    def annotate(self, **annotations: str) -> None:
        """Apply the bot as it is, with annotations of fedid (`rotate`, `revoke_now`)."""
        spec = self.operator.cluster.bodies[BOT]["spec"]
        named = {f"fedid.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
        self.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec, annotations=named)

    @property
    def status(self) -> dict[str, Any]:
        """The bot's."""
        return self.operator.status(BOT_CLIENT, "trainer")

    def ready(self, kind: ConditionType = ConditionType.READY) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = condition_of(self.status["conditions"], kind)
        assert found is not None
        return found["status"], found["reason"]

    @property
    def client(self) -> ClientRecord:
        """The client as it stands."""
        found = self.operator.provider.realm.client(CLIENT_ID)
        assert found is not None
        return found

    def vault(self, leaf: str = "client", mount: str | None = None) -> dict[str, str]:
        """Return what lies in Vault below the bot's folder, or at a path of another mount."""
        store = self.operator.store if mount is None else self.operator.store.mounts[mount]
        path = f"fedid/{NAMESPACE}/bots/trainer/{leaf}" if mount is None else leaf
        entry = store.entries.get(path)
        return dict(entry.shown(self.operator.clock.now())) if entry is not None else {}

    def mounted(self, key: str = "secret") -> str:
        """Return what the pod has."""
        secret = self.operator.cluster.secrets[(NAMESPACE, "trainer")]
        return secret.data[key].reveal()

    async def accepted(self, secret: str) -> bool:
        """Present a secret."""
        return not await self.operator.provider.credentials_refused(ClientCredentials(CLIENT_ID, Sensitive(secret)))

    async def assert_consumers_get_in(self) -> None:
        """Present what is mounted, and what lies in Vault."""
        assert await self.accepted(self.mounted())
        assert await self.accepted(self.vault()["client_secret"])

    def told(self, reason: str) -> list[str]:
        """Return the messages of Events."""
        return [event.message for event in self.operator.cluster.events if event.reason == reason]
