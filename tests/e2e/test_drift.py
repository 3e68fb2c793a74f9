"""What somebody changes by hand is put back, and told in an Event that names the fields and never a value.

Once with the realm's admin events and no sweep, once with sweeps and no events.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.authority import Authority
from tests.e2e.hands import Hands
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.running import Operator
from tests.e2e.tampering import BOT_HANDS, FOREIGN_SECRET, POD_HANDS, USER_HANDS, Hand, Scene
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

BOTS = {**BOT_HANDS, **POD_HANDS}
DISABLING = (
    "disabled",
    "secret-regenerated",
    "authenticator-changed",
    "attribute-added",
    "service-account-taken",
    "service-account-deleted",
    "token-in-vault-swapped",
    "paths-deleted-in-vault",
)
"""What keeps a client from revoking its tokens by itself, or us from knowing them."""


WAYS = {
    "events": {"eventsInterval": "1s", "sweepPeriod": "168h"},
    "sweep": {"adminEvents": "Never", "sweepPeriod": "5s", "pageSize": 10},
}
"""How the Federation finds what was changed in Keycloak; Vault and mounted Secrets are looked at every 5 s."""


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Give the way by which changes are found."""
    return str(request.param)


@pytest.fixture(scope="module")
def quick(stack: Stack, proxies: Proxies, the_operator: Operator, way: str) -> Iterator[str]:
    """A Federation that looks at everything every 5 s, or hears of it."""
    del the_operator
    defaults, drift = {"resyncPeriod": "5s", "tokenLifetime": "10m"}, WAYS[way]
    with own_federation(stack, proxies, "quick", defaults=defaults, drift=drift, grants=[grant()]) as name:
        yield name


@pytest.fixture(scope="module")
def scenes(stack: Stack, authority: Authority, quick: str) -> Iterator[dict[str, Scene]]:
    """One bot with a mounted Secret, or one user, for each hand; every hand has acted when a test begins."""
    tenant, hands, reference = Tenant.create(stack), Hands(stack), {"federationRef": {"name": quick}}
    people = {case: unique("ana") for case in USER_HANDS}
    for name in BOTS:
        tenant.apply(bot(name, **reference), pod_identity(name))
    tenant.apply(*(user(name, **reference) for name in people.values()))
    ready = {}
    for name in BOTS:
        status = tenant.ready("BotClient", name)["status"]
        tenant.ready("PodIdentity", name)
        scene = Scene(tenant, hands, authority, name, status["clientUuid"], status["serviceAccountSubject"])
        scene.secret, scene.token = scene.vault()["client_secret"], scene.vault("tokens/default")["token"]
        ready[name] = scene
    for case, name in people.items():
        user_id = tenant.ready("FederationUser", name)["status"]["userId"]
        ready[f"user {case}"] = Scene(tenant, hands, authority, name, subject=user_id)
    for name, hand in BOTS.items():
        hand.acts(ready[name])
    for case, hand in USER_HANDS.items():
        hand.acts(ready[f"user {case}"])
    yield ready
    tenant.clean()


def _assert_put_back_and_told(scene: Scene, hand: Hand, kind: str) -> None:
    eventually(lambda: hand.put_back(scene), "put back")
    events = eventually(lambda: _repairs(scene, kind), f"an Event about {kind}/{scene.name}")
    told = " ".join(event["message"] for event in events)
    for words in hand.told:
        assert words in told, told
    for value in filter(None, (scene.secret, scene.token, FOREIGN_SECRET, *scene.other.values())):
        assert value not in told


def _repairs(scene: Scene, kind: str) -> list[Body]:
    about = [e for e in scene.tenant.events(scene.name) if e["involvedObject"]["kind"] == kind]
    return [event for event in about if event["reason"] == "DriftRepaired"]


@pytest.mark.parametrize("name", BOT_HANDS)
def test_what_is_changed_on_a_bot_is_put_back_and_told(scenes: dict[str, Scene], name: str) -> None:
    """In Keycloak or in Vault, added, removed or changed: as the manifest says again, with living credentials."""
    _assert_put_back_and_told(scenes[name], BOT_HANDS[name], "BotClient")
    scenes[name].tenant.ready("BotClient", name)
    scenes[name].tenant.ready("PodIdentity", name)
    eventually(scenes[name].works, "Keycloak, Vault and the Secret agree")


@pytest.mark.parametrize("name", POD_HANDS)
def test_what_is_changed_on_a_mounted_secret_is_put_back_and_told(scenes: dict[str, Scene], name: str) -> None:
    """Data, keys, labels, annotations, the Secret itself, or that it may not change any more."""
    _assert_put_back_and_told(scenes[name], POD_HANDS[name], "PodIdentity")
    assert not _repairs(scenes[name], "BotClient")


@pytest.mark.parametrize("case", USER_HANDS)
def test_what_is_changed_on_a_user_is_put_back_and_told(scenes: dict[str, Scene], case: str) -> None:
    """Deleted, disabled, renamed, or with other groups and roles."""
    scene = scenes[f"user {case}"]
    _assert_put_back_and_told(scene, USER_HANDS[case], "FederationUser")
    scene.tenant.ready("FederationUser", scene.name)


def test_a_bot_that_was_changed_by_hand_is_still_deleted_with_proof(
    stack: Stack, tenant: Tenant, authority: Authority
) -> None:
    """Whatever was done to its client before anybody looked, every token it ever had is dead in the end."""
    hands, scenes = Hands(stack), {}
    tenant.apply(*(bot(name) for name in DISABLING))
    for name in DISABLING:
        status = tenant.ready("BotClient", name)["status"]
        scenes[name] = Scene(tenant, hands, authority, name, status["clientUuid"], status["serviceAccountSubject"])
        scenes[name].secret = scenes[name].vault()["client_secret"]
        scenes[name].token = scenes[name].vault("tokens/default")["token"]
    for name in DISABLING:
        BOT_HANDS[name].acts(scenes[name])
        tenant.delete("BotClient", name)
    for name, scene in scenes.items():
        tenant.gone("BotClient", name)
        assert authority.admin_api_status(scene.token) == 401, name
        for secret in (scene.secret, *scene.other.values()):
            assert authority.request_token(scene.client_id, secret).status == 401, name
        assert authority.client(scene.client_id) is None, name
        assert not authority.vault_metadata(scene.path()), name
    # Under the same clientId none of them comes to life again.
    tenant.apply(*(bot(name) for name in DISABLING))
    for name, scene in scenes.items():
        tenant.ready("BotClient", name)
        assert authority.admin_api_status(scene.token) == 401, name


def test_a_client_deleted_by_hand_does_not_come_back_with_its_last_tokens(
    stack: Stack, tenant: Tenant, authority: Authority
) -> None:
    """Invariant 2: made anew within the second of the deletion, it refuses what was minted within that second."""
    names = [f"trainer-{number}" for number in range(6)]
    tenant.apply(*(bot(name) for name in names))
    uuids = {name: tenant.ready("BotClient", name)["status"]["clientUuid"] for name in names}
    secrets = {name: authority.vault(f"fedid/{tenant.namespace}/bots/{name}/client") or {} for name in names}
    minted = {}
    for name in names:
        credentials = secrets[name]["client_id"], secrets[name]["client_secret"]
        minted[name] = authority.request_token(*credentials).body["access_token"]
        Hands(stack).delete_client(uuids[name])
        tenant.touch("BotClient", name)
    for name in names:
        tenant.event(name, "DriftRepaired")
        tenant.ready("BotClient", name)
        assert authority.admin_api_status(minted[name]) == 401, name


def test_a_quiet_realm_costs_no_call_per_object_and_no_write(
    scenes: dict[str, Scene], proxies: Proxies, way: str
) -> None:
    """Invariant 5 and the budget: with everything put back, three rounds ask for no object and write nothing.

    One call per round with admin events; without, pages of ten clients and of the members of roles and groups.
    """
    bots = [name for name, scene in scenes.items() if scene.uuid]
    for name in bots:
        scenes[name].tenant.ready("BotClient", name)
        scenes[name].tenant.ready("PodIdentity", name)

    def asked(pattern: str) -> list[str]:
        path = re.compile(f"/admin/realms/fl{pattern}")
        return [e.path for e in proxies.keycloak.exchanges() if e.method == "GET" and path.fullmatch(e.path)]

    def rounds() -> int:
        # The first page of a sweep, or a read of the events; the query is no part of the path.
        return len(asked("/admin-events" if way == "events" else "/groups"))

    def quiet() -> bool:
        """Three rounds in which no object was asked for: the last looks of before are over."""
        if asked("/clients/[0-9a-f-]+") or asked("/users/[0-9a-f-]+(/.*)?"):
            proxies.clear()
        return rounds() >= 3

    proxies.clear()
    eventually(quiet, "three rounds in which nobody asked for an object")
    calls = Counter(re.sub("[0-9a-f-]{36}", "<id>", path) for path in asked("/(?!admin-events).*"))
    if way == "events":
        assert not {path for path in calls if "/roles/" in path or path.endswith("/members")}, calls
    else:
        assert calls["/admin/realms/fl/clients"] <= (len(scenes) // 10 + 3) * (rounds() + 1) + 10, calls
    assert [f"{one.method} {one.path}" for one in proxies.side_effects()] == []
