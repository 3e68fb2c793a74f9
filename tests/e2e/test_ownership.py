"""Nothing that somebody else made is read for secrets, changed or deleted; nothing of ours outlives its mark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.authority import Authority
from tests.e2e.hands import OWNER, Hands
from tests.e2e.operating import Proxies, federation, grant, own_federation
from tests.e2e.rivals import ELSEWHERE, rivals_of
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.faults import Status, requests_to
from tests.testbed.stack import Stack


@pytest.fixture
def hands(stack: Stack) -> Hands:
    """An administrator of everything."""
    return Hands(stack)


@pytest.fixture(scope="module")
def quick(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation that looks at everything every 5 s and lets tenants choose clientIds."""
    del the_operator
    rules = [grant(clientIds=["shared-*"])]
    with own_federation(stack, proxies, "quick", defaults={"resyncPeriod": "5s"}, grants=rules) as name:
        yield name


@pytest.fixture(scope="module")
def first_version(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation whose Vault mount is of KV version 1."""
    del the_operator
    vault = federation(stack, proxies)["spec"]["vault"] | {"mount": "secrets", "kvVersion": 1}
    with own_federation(stack, proxies, "first", vault=vault) as name:
        yield name


def test_what_a_stranger_owns_is_left_untouched_until_it_goes(tenant: Tenant, hands: Hands, first_version: str) -> None:
    """A taken clientId, username, address, Vault path or Secret name: Conflict, not a byte changed, then recovery."""
    rivals = rivals_of(tenant, hands, first_version)
    before = [rival.as_it_stands() for rival in rivals]
    tenant.apply(*(rival.manifest for rival in rivals))
    for rival in rivals:
        told = tenant.reason(rival.kind, rival.name, "Conflict")["message"]
        assert rival.owner in told, told
        assert rival.step in told, told
        assert "left" in told, told
    assert [rival.as_it_stands() for rival in rivals] == before
    for rival in rivals:
        rival.remove()
    for rival in rivals:
        tenant.ready(rival.kind, rival.name)


def test_what_a_stranger_owns_outlives_the_object_that_wanted_its_name(
    tenant: Tenant, hands: Hands, first_version: str
) -> None:
    """Deleting an object in conflict succeeds and leaves the stranger's thing as it was, byte for byte."""
    rivals = rivals_of(tenant, hands, first_version)
    before = [rival.as_it_stands() for rival in rivals]
    tenant.apply(*(rival.manifest for rival in rivals))
    for rival in rivals:
        tenant.reason(rival.kind, rival.name, "Conflict")
    for rival in rivals:
        tenant.delete(rival.kind, rival.name)
    for rival in rivals:
        tenant.gone(rival.kind, rival.name)
    assert [rival.as_it_stands() for rival in rivals] == before
    for rival in rivals:
        rival.remove()


def test_of_two_that_want_one_name_the_first_keeps_it_and_the_second_gets_it_later(
    stack: Stack, tenant: Tenant, authority: Authority, quick: str
) -> None:
    """One clientId, username or Secret name, two of our objects: the first works on, the second names the first."""
    second = Tenant.create(stack)
    try:
        taken, person = unique("shared"), unique("ana")
        reference = {"federationRef": {"name": quick}}
        wanted = [bot("trainer", clientId=taken, **reference), user("ana", username=person, **reference)]
        tenant.apply(*wanted, pod_identity("trainer"), bot("other"))
        for kind, name in (("BotClient", "trainer"), ("FederationUser", "ana"), ("PodIdentity", "trainer")):
            tenant.ready(kind, name)
        token = tenant.mounted("trainer", "token")
        second.apply(*wanted)
        tenant.apply(pod_identity("rival", "other", secretName="trainer"))
        for where, kind, name in ((second, "BotClient", "trainer"), (second, "FederationUser", "ana")):
            message = where.reason(kind, name, "Conflict")["message"]
            assert f"{kind}/{tenant.namespace}/{name}" in message, message
        message = tenant.reason("PodIdentity", "rival", "Conflict")["message"]
        assert "belongs to trainer" in message, message
        assert tenant.mounted("trainer", "token") == token
        assert authority.introspect(token)["active"] is True
        for kind, name in (("BotClient", "trainer"), ("FederationUser", "ana"), ("PodIdentity", "trainer")):
            tenant.delete(kind, name)
        for kind, name in (("BotClient", "trainer"), ("FederationUser", "ana")):
            tenant.gone(kind, name)
            second.touch(kind, name)
            second.ready(kind, name)
        eventually(lambda: "trainer" not in _owners(tenant, "trainer"), "the first one's Secret is collected")
        tenant.touch("PodIdentity", "rival")
        tenant.ready("PodIdentity", "rival")
        assert authority.introspect(token)["active"] is False
        assert tenant.mounted("trainer", "token") != token
    finally:
        second.clean()


def _owners(tenant: Tenant, secret: str) -> list[str]:
    metadata = (tenant.secret(secret) or {"metadata": {}})["metadata"]
    return [reference["name"] for reference in metadata.get("ownerReferences", [])]


def test_what_lost_its_owner_mark_is_neither_changed_nor_deleted(
    tenant: Tenant, hands: Hands, authority: Authority, quick: str
) -> None:
    """A mark taken off or replaced by hand: the condition says so, nothing is touched, also when the object goes."""
    person, reference = unique("ana"), {"federationRef": {"name": quick}}
    tenant.apply(bot("unmarked", **reference), bot("replaced", **reference), user(person, **reference))
    unmarked = tenant.ready("BotClient", "unmarked")["status"]["clientUuid"]
    replaced = tenant.ready("BotClient", "replaced")["status"]["clientUuid"]
    user_id = tenant.ready("FederationUser", person)["status"]["userId"]
    marks = {name: _mark_of(authority, f"{tenant.namespace}.{name}") for name in ("unmarked", "replaced")}
    user_mark = authority.stack.keycloak("GET", f"/admin/realms/fl/users/{user_id}")["attributes"][OWNER]
    hands.change_client(unmarked, description="by hand", attributes={OWNER: ""})
    hands.change_client(replaced, description="by hand", attributes={OWNER: ELSEWHERE})
    hands.change_user(user_id, lastName="By Hand", attributes={OWNER: None})

    def states() -> list[str]:
        return [
            hands.client_as_it_stands(unmarked),
            hands.client_as_it_stands(replaced),
            hands.user_as_it_stands(user_id),
        ]

    before = states()
    for kind, name in (("BotClient", "unmarked"), ("BotClient", "replaced"), ("FederationUser", person)):
        message = tenant.reason(kind, name, "Conflict")["message"]
        assert ELSEWHERE in message if name == "replaced" else "owner mark" in message, message
        tenant.delete(kind, name)
    for kind, name in (("BotClient", "unmarked"), ("BotClient", "replaced"), ("FederationUser", person)):
        waiting = eventually(
            lambda kind=kind, name=name: _waiting(tenant, kind, name), f"{kind}/{name} waits for its mark"
        )
        assert "put the attribute fedid.owner back" in waiting, waiting
    assert states() == before
    hands.change_client(unmarked, attributes={OWNER: marks["unmarked"]})
    hands.delete_client(replaced)
    hands.change_user(user_id, attributes={OWNER: user_mark})
    for kind, name in (("BotClient", "unmarked"), ("BotClient", "replaced"), ("FederationUser", person)):
        tenant.touch(kind, name)
        tenant.gone(kind, name)
    assert authority.client(f"{tenant.namespace}.unmarked") is None
    assert authority.user(person) is None


def _mark_of(authority: Authority, client_id: str) -> str:
    return str((authority.client(client_id) or {})["attributes"][OWNER])


def _waiting(tenant: Tenant, kind: str, name: str) -> str | None:
    found = tenant.condition(kind, name, "Revoked")
    return found["message"] if found is not None and found["reason"] == "Conflict" else None


def test_a_vault_path_that_lost_its_mark_stays_and_is_named(
    tenant: Tenant, hands: Hands, authority: Authority, quick: str
) -> None:
    """A path that was re-marked by hand is not written to, not deleted with the bot, and the proof says so."""
    tenant.apply(bot("trainer", federationRef={"name": quick}), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    path = f"fedid/{tenant.namespace}/bots/trainer/client"
    secret = (authority.vault(path) or {})["client_secret"]
    hands.mark(path, ELSEWHERE)
    before = hands.entry_as_it_stands(path)
    assert ELSEWHERE in tenant.reason("BotClient", "trainer", "Conflict")["message"]
    assert tenant.condition("BotClient", "trainer", "Published")["reason"] == "Conflict"
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert hands.entry_as_it_stands(path) == before
    assert path in tenant.event("trainer", "RevocationProven")["message"]
    assert authority.request_token(f"{tenant.namespace}.trainer", secret).status == 401
    assert authority.vault_metadata(f"fedid/{tenant.namespace}/bots/trainer/tokens/default") is None
    hands.delete_entry(path)


def test_deletion_succeeds_when_everything_is_gone_already(tenant: Tenant, hands: Hands, authority: Authority) -> None:
    """Invariant 7: client, Vault paths, Secret and user were deleted by hand; the objects go all the same."""
    person = unique("ana")
    tenant.apply(bot("trainer"), pod_identity("trainer"), user(person))
    uuid = tenant.ready("BotClient", "trainer")["status"]["clientUuid"]
    tenant.ready("PodIdentity", "trainer")
    user_id = tenant.ready("FederationUser", person)["status"]["userId"]
    token = tenant.mounted("trainer", "token")
    hands.delete_client(uuid)
    for entry in ("client", "tokens/default"):
        hands.delete_entry(f"fedid/{tenant.namespace}/bots/trainer/{entry}")
    hands.delete_user(user_id)
    for kind, name in (("BotClient", "trainer"), ("FederationUser", person), ("PodIdentity", "trainer")):
        tenant.delete(kind, name)
    for kind, name in (("BotClient", "trainer"), ("FederationUser", person), ("PodIdentity", "trainer")):
        tenant.gone(kind, name)
    assert authority.admin_api_status(token) == 401
    assert authority.client(f"{tenant.namespace}.trainer") is None


def test_deletion_succeeds_when_nothing_was_ever_made(tenant: Tenant, authority: Authority, proxies: Proxies) -> None:
    """Invariant 7: neither a role that does not exist, nor a create that never came through, keeps an object."""
    person = unique("ana")
    rule = proxies.keycloak.inject(Status(500), requests_to(".*/(clients|users)", "POST"))
    tenant.apply(
        bot("no-role", realmRoles=["fl-nobody-made-it"]),
        bot("no-federation", federationRef={"name": unique("nowhere")}),
        bot("never-made"),
        user(person),
        pod_identity("never-made"),
    )
    tenant.reason("BotClient", "no-role", "RoleMissing")
    tenant.reason("BotClient", "no-federation", "FederationMissing")
    tenant.reason("BotClient", "never-made", "BackendUnavailable")
    tenant.reason("FederationUser", person, "BackendUnavailable")
    assert rule.hits >= 2
    everything = [("BotClient", n) for n in ("no-role", "no-federation", "never-made")]
    everything += [("FederationUser", person), ("PodIdentity", "never-made")]
    for kind, name in everything:
        tenant.delete(kind, name)
    for kind, name in everything:
        tenant.gone(kind, name)
    assert authority.client(f"{tenant.namespace}.never-made") is None
    assert authority.user(person) is None


def test_a_bot_made_anew_never_inherits_what_was_left_of_the_former(
    operator: Operator, tenant: Tenant, hands: Hands, authority: Authority
) -> None:
    """Invariant 11: with client and paths left behind (finalizer torn off) the new one gets nothing, then its own."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    former = tenant.ready("BotClient", "trainer")
    tenant.ready("PodIdentity", "trainer")
    old_token = tenant.mounted("trainer", "token")
    base = f"fedid/{tenant.namespace}/bots/trainer"
    old_secret = (authority.vault(f"{base}/client") or {})["client_secret"]
    operator.stop()  # it sees one bot, and then another under the same name
    no_finalizer = {"metadata": {"finalizers": None}}
    authority.stack.kube("PATCH", tenant.path("BotClient", "trainer"), no_finalizer, headers=MERGE)
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    left = [f"{base}/client", f"{base}/tokens/default"]
    before = [hands.client_as_it_stands(former["status"]["clientUuid"]), *map(hands.entry_as_it_stands, left)]
    tenant.apply(bot("trainer"))
    operator.start()
    message = tenant.reason("BotClient", "trainer", "Conflict")["message"]
    assert former["metadata"]["uid"] in message, message
    tenant.emptied("trainer")
    after = [hands.client_as_it_stands(former["status"]["clientUuid"]), *map(hands.entry_as_it_stands, left)]
    assert after == before
    hands.delete_client(former["status"]["clientUuid"])
    for path in left:
        hands.delete_entry(path)
    tenant.touch("BotClient", "trainer")
    tenant.ready("BotClient", "trainer")
    tenant.ready("PodIdentity", "trainer")
    new = tenant.mounted("trainer", "token", lambda text: bool(text) and text != old_token)
    assert authority.introspect(new)["active"] is True
    assert authority.introspect(old_token)["active"] is False
    assert old_secret not in tenant.mounted("trainer", "client.env")
    assert authority.request_token(f"{tenant.namespace}.trainer", old_secret).status == 401
