"""Servers that are clients of Keycloak, by whole passes: what their pods mount from the manifest to its end."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.oidc_client_record import client_uuids
from fedid.domain.realm import SecretPolicy
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FINALIZER, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

APP = ObjectKey(POD_IDENTITY, NAMESPACE, "app")
CLIENT_ID = f"{NAMESPACE}.app.server"
PATH = f"fedid/{NAMESPACE}/pods/app/client"
RULE: dict[str, Any] = {
    "namespaces": {"names": [NAMESPACE]},
    "oidcFlows": ["authorizationCode", "introspection"],
    "redirectUriPrefixes": ["https://app.site-a.example"],
}
CLIENT: dict[str, Any] = {"flows": ["authorizationCode"], "redirectUris": ["https://app.site-a.example/cb"]}
FILES = {"id": "{clientId}", "secret": "{clientSecret}"}
LISTED = {"selector": {"matchLabels": {"fedid.io/server": "app"}}}


class App:
    """The operator and one server."""

    def __init__(self) -> None:
        """Start with a grant and no server."""
        self.operator = SmallOperator()
        self.provider, self.store = self.operator.provider, self.operator.store
        self.provider.realm.secret_policy = SecretPolicy("two", timedelta(days=3650), timedelta(days=365))
        self.grant(RULE)

    @classmethod
    async def begun(cls, **spec: Any) -> App:
        """Return one that is Ready."""
        app = cls()
        app.want(**spec)
        await app.operator.advance(20)
        assert app.told(ConditionType.READY) == ("True", "Ready"), app.status
        return app

    def grant(self, *rules: dict[str, Any]) -> None:
        """Let the Federation have these rules."""
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": list(rules)})

    def want(self, *, annotations: dict[str, str] | None = None, files: Any = None, **spec: Any) -> None:
        """Apply the PodIdentity."""
        whole = {"role": "server", "oidcClient": CLIENT, "platform": {"generic": {"files": files or FILES}}, **spec}
        whole = {name: value for name, value in whole.items() if value is not None}
        self.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "app", whole, annotations=annotations)

    @property
    def status(self) -> dict[str, Any]:
        """Of the PodIdentity."""
        return self.operator.status(POD_IDENTITY, "app")

    @property
    def finalizers(self) -> list[str]:
        """Of the PodIdentity, if it is there."""
        return list(self.operator.cluster.bodies.get(APP, {}).get("metadata", {}).get("finalizers") or ())

    def told(self, kind: ConditionType) -> tuple[str, str] | None:
        """Return status and reason of a condition."""
        found = condition_of(self.status.get("conditions") or (), kind)
        return (found["status"], found["reason"]) if found is not None else None

    def mounted(self) -> dict[str, str]:
        """Return what its pods mount."""
        secret = self.operator.cluster.secrets[NAMESPACE, "app"]
        return {key: value.reveal() for key, value in secret.data.items()}

    @property
    def uuid(self) -> str:
        """Keycloak's id of its client."""
        return client_uuids(self.operator.cluster.bodies[APP]["metadata"]["uid"])[0]

    def accepted(self, secret: str) -> bool:
        """Tell whether the server gets in with a secret."""
        return self.provider.realm.authenticated(ClientCredentials(CLIENT_ID, Sensitive(secret))) is not None

    def writes(self) -> int:
        """Return how often anything was written anywhere."""
        return len(self.provider.writes) + len(self.store.writes) + len(self.operator.writes())


async def test_from_the_manifest_to_the_mounted_secret() -> None:
    """The Secret holds what was proven, and nothing moves without a reason."""
    app = await App.begun()
    assert app.mounted() == {"id": CLIENT_ID, "secret": app.store.data_of(PATH)["client_secret"]}
    assert app.accepted(app.mounted()["secret"])
    assert app.told(ConditionType.GRANTED) == ("True", "Granted")
    assert app.told(ConditionType.KEYCLOAK_SYNCED) == ("True", "Synced")
    before = app.writes()
    await app.operator.advance(7200)
    await app.operator.look()
    assert app.writes() == before


async def test_a_restart_writes_nothing() -> None:
    """Another process finds everything as it was left."""
    app = await App.begun()
    before = app.writes()
    app.operator.restart()
    await app.operator.advance(30)
    assert app.writes() == before


async def test_a_change_by_hand_is_put_back_within_the_interval() -> None:
    """With the realm's admin events nobody waits for the next look."""
    app = App()
    app.provider.realm.records_events = True
    app.want()
    await app.operator.advance(30)
    flags = {**app.provider.realm.clients[app.uuid].flags, "fullScopeAllowed": True}
    app.provider.realm.change_client(app.uuid, flags=flags)
    await app.operator.advance(60)
    assert not app.provider.realm.clients[app.uuid].flags["fullScopeAllowed"]


async def test_a_grant_that_goes_empties_the_secret_and_ends_the_client() -> None:
    """Also while Keycloak is away; it comes back with the grant."""
    app = await App.begun()
    secret = app.mounted()["secret"]
    app.provider.failures.add("delete_client", BackendUnavailableError("away", backend="keycloak"), times=3)
    app.grant({"namespaces": {"names": [NAMESPACE]}})
    await app.operator.settle()
    assert app.mounted() == {"id": "", "secret": ""}
    assert app.told(ConditionType.READY) is not None
    await app.operator.advance(120)
    assert app.provider.realm.clients == {}
    assert app.told(ConditionType.READY) == ("False", "NotGranted")
    assert app.told(ConditionType.GRANTED) == ("False", "NotGranted")
    assert app.told(ConditionType.REVOKED) == ("True", "Proven")
    assert FINALIZER not in app.operator.cluster.bodies[APP]["metadata"]["finalizers"]
    before = app.writes()
    await app.operator.advance(3600)
    assert app.writes() == before
    app.grant(RULE)
    await app.operator.advance(30)
    assert app.told(ConditionType.READY) == ("True", "Ready")
    assert app.mounted()["secret"] != secret
    assert not app.accepted(secret)


async def test_what_was_never_granted_makes_nothing() -> None:
    """Neither a client nor a Secret nor a finalizer."""
    app = App()
    app.grant({"namespaces": {"names": [NAMESPACE]}})
    app.want()
    await app.operator.advance(20)
    assert app.told(ConditionType.READY) == ("False", "NotGranted")
    assert app.provider.writes == []
    assert (NAMESPACE, "app") not in app.operator.cluster.secrets
    assert "finalizers" not in app.operator.cluster.bodies[APP]["metadata"]


async def test_more_than_is_granted_leaves_what_runs() -> None:
    """A manifest that asks for too much breaks no server, and says what is missing."""
    app = await App.begun()
    secret = app.mounted()["secret"]
    app.want(oidcClient={**CLIENT, "redirectUris": [*CLIENT["redirectUris"], "https://elsewhere.example/cb"]})
    await app.operator.settle()
    assert app.told(ConditionType.READY) == ("False", "NotGranted")
    assert app.mounted()["secret"] == secret
    assert app.provider.realm.clients[app.uuid].uris == {"redirectUris": tuple(CLIENT["redirectUris"])}
    app.provider.failures.add("read_client", BackendUnavailableError("away", backend="keycloak"), times=None)
    before = app.writes()
    await app.operator.look()
    await app.operator.advance(1800)
    assert app.writes() == before, "nor does an outage"


async def test_a_strangers_client_is_left_alone() -> None:
    """The condition says whose it is; once it is gone the server gets its own."""
    app = App()
    stranger = app.provider.realm.add_client(CLIENT_ID, owner="other/uid", secret=Sensitive("theirs"))
    app.want()
    await app.operator.advance(60)
    assert app.told(ConditionType.KEYCLOAK_SYNCED) == ("False", "Conflict")
    assert app.told(ConditionType.READY) == ("False", "Conflict")
    before = app.writes()
    await app.operator.advance(3600)
    assert app.writes() == before
    assert app.provider.writes == []
    app.provider.realm.delete_client(stranger.client_uuid)
    await app.operator.advance(60)
    assert app.told(ConditionType.READY) == ("True", "Ready")


async def test_keycloak_away_changes_nothing_that_is_mounted() -> None:
    """Nor does it keep the list of accepted tokens from being rewritten."""
    app = App()
    app.want(accepts=LISTED, files={**FILES, "tokens": "{tokens}"})
    tokens = [{"name": "list", "type": "opaque", "lifetime": "720h"}]
    bot = app.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "uploader", {"tokens": tokens})
    app.operator.cluster.bodies[ObjectKey(BOT_CLIENT, NAMESPACE, "uploader")]["metadata"]["labels"] = {
        "fedid.io/server": "app"
    }
    app.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "uploader", bot["spec"])
    app.operator.restart()
    await app.operator.advance(60)
    secret = app.mounted()["secret"]
    assert app.mounted()["tokens"] != ""
    away = BackendUnavailableError("away", backend="keycloak")
    app.provider.failures.add("read_client", away, times=None)
    app.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "uploader", {"tokens": tokens, "suspend": True})
    await app.operator.advance(20)
    assert app.mounted() == {"id": CLIENT_ID, "secret": secret, "tokens": ""}


async def test_an_outage_changes_no_status() -> None:
    """What is mounted is good, and nobody is told otherwise."""
    app = await App.begun()
    app.provider.failures.add("read_client", BackendUnavailableError("away", backend="keycloak"), times=None)
    before = app.writes()
    await app.operator.advance(3600)
    await app.operator.look()
    assert app.writes() == before
    assert app.told(ConditionType.READY) == ("True", "Ready")


async def test_a_mark_that_a_hand_changed_is_told_once() -> None:
    """The server goes on with what it has; the condition says what to put back."""
    app = await App.begun()
    mounted = app.mounted()
    owner = app.provider.realm.clients[app.uuid].owner
    app.provider.realm.change_client(app.uuid, owner="other/uid")
    await app.operator.look()
    assert app.told(ConditionType.KEYCLOAK_SYNCED) == ("False", "Conflict")
    before = app.writes()
    await app.operator.advance(3600)
    assert app.writes() == before
    assert app.mounted() == mounted
    app.provider.realm.change_client(app.uuid, owner=owner)
    await app.operator.advance(60)
    assert app.told(ConditionType.READY) == ("True", "Ready")


async def test_a_rotation_reaches_the_pods_before_the_former_ends() -> None:
    """Both are good until the overlap is over."""
    overlap = {"secretRotation": {"overlap": "5m"}}
    app = await App.begun(oidcClient={**CLIENT, **overlap})
    first = app.mounted()["secret"]
    app.want(oidcClient={**CLIENT, **overlap}, annotations={"fedid.io/rotate": "secret-1"})
    await app.operator.advance(10)
    second = app.mounted()["secret"]
    assert second != first
    assert app.status["oidcClient"]["rotatedFor"] == "secret-1"
    for _ in range(4):
        assert app.accepted(first)
        assert app.accepted(second)
        await app.operator.advance(60)
    await app.operator.advance(600)
    assert not app.accepted(first)
    assert app.mounted()["secret"] == second
    assert "previousEndsAt" not in app.status["oidcClient"]


async def test_a_rotation_that_waited_for_an_overlap_comes_right_after_it() -> None:
    """Not at the next regular look, which is minutes away."""
    overlap = {"secretRotation": {"overlap": "5m"}}
    app = await App.begun(oidcClient={**CLIENT, **overlap})
    for value in ("secret-1", "secret-2"):
        app.want(oidcClient={**CLIENT, **overlap}, annotations={"fedid.io/rotate": value})
        await app.operator.advance(10)
    first = app.mounted()["secret"]
    assert app.status["oidcClient"]["rotatedFor"] == "secret-1"
    await app.operator.advance(310)
    assert app.status["oidcClient"]["rotatedFor"] == "secret-2"
    assert app.mounted()["secret"] != first
    assert app.accepted(first), "its overlap has only begun"


async def test_without_the_block_the_client_ends_and_the_server_stays() -> None:
    """The finalizer goes with the client, and comes back with it."""
    app = await App.begun()
    secret = app.mounted()["secret"]
    app.want(oidcClient=None, accepts=LISTED, files={"tokens": "{tokens}"})
    await app.operator.advance(20)
    assert app.provider.realm.clients == {}
    assert app.told(ConditionType.READY) == ("True", "Ready")
    assert "oidcClient" not in app.status
    assert app.operator.cluster.bodies[APP]["metadata"]["finalizers"] == []
    assert not app.accepted(secret)
    app.want()
    await app.operator.advance(20)
    assert app.told(ConditionType.READY) == ("True", "Ready")


async def test_deletion_ends_with_a_proof() -> None:
    """The Secret is empty at once, and the object goes when the client was seen gone and its secret refused."""
    app = await App.begun()
    secret = app.mounted()["secret"]
    app.provider.failures.add("delete_client", BackendUnavailableError("away", backend="keycloak"), times=2)
    app.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "app")
    await app.operator.settle()
    assert app.mounted() == {"id": "", "secret": ""}
    assert app.told(ConditionType.REVOKED) == ("False", "BackendUnavailable")
    assert app.status["revocation"]["waitingFor"] == "keycloak"
    await app.operator.advance(120)
    assert APP not in app.operator.cluster.bodies
    assert app.provider.realm.clients == {}
    assert PATH not in app.store.entries
    assert not app.accepted(secret)
    assert [e.reason for e in app.operator.cluster.events if e.reason == "RevocationProven"] == ["RevocationProven"]


async def test_a_federation_waits_for_its_servers() -> None:
    """Nothing may be left in a realm that nobody can get into any more."""
    app = await App.begun()
    app.operator.cluster.delete(FEDERATION, None, "local")
    await app.operator.advance(30)
    assert ObjectKey(FEDERATION, "", "local") in app.operator.cluster.bodies
    assert app.uuid in app.provider.realm.clients


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("backend", ["keycloak", "vault", "kubernetes"])
async def test_an_answer_lost_anywhere_in_its_life_changes_nothing_of_its_end(backend: str, at: str) -> None:
    """Call by call one answer is lost: the server is made, rotates and goes all the same, and nothing stays behind."""
    lost, number = True, 0
    while lost:
        lost = await _live_through(backend, at, number)
        number += 1
    assert number > 3, "the calls that were to be lost were not met"


async def _live_through(backend: str, at: str, number: int) -> bool:
    """Make, rotate and delete a server while one call goes wrong; tell whether there was such a call."""
    app = App()
    await app.operator.advance(1)
    met = itertools.count()
    failing = {"keycloak": app.provider, "vault": app.store, "kubernetes": app.operator.cluster}[backend]
    error = BackendUnavailableError("lost", backend=backend, outcome_unknown=at == "after")
    failing.failures.add("*", error, at=at, times=1, when=lambda _target: next(met) == number)
    app.want()
    await app.operator.advance(60)
    assert app.told(ConditionType.READY) == ("True", "Ready"), (number, app.status)
    first = app.mounted()["secret"]
    assert app.accepted(first)
    app.want(annotations={"fedid.io/rotate": "secret-1"})
    await app.operator.advance(60)
    second = app.mounted()["secret"]
    assert second != first, number
    assert app.accepted(first)
    assert app.accepted(second)
    assert app.store.data_of(PATH)["client_secret"] == second
    assert len(app.provider.realm.clients) == 1
    app.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "app")
    await app.operator.advance(60)
    assert APP not in app.operator.cluster.bodies, (number, app.status)
    assert app.provider.realm.clients == {}
    assert PATH not in app.store.entries
    assert not app.accepted(second)
    return next(met) > number
