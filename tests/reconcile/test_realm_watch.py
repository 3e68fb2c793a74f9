"""Changes made by hand in Keycloak are found without asking for each object: by admin events, or by a paged sweep."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

LISTINGS = frozenset({"clients_page", "users_page", "all_roles", "all_groups", "role_members", "group_members"})
PROBE = "probe"
HOUR = 3600.0


def estate(operator: SmallOperator, *, bots: int = 3, users: int = 2) -> None:
    """Apply bots with a role and a mapper, and users with a role and a group."""
    realm = operator.provider.realm
    for role in ("fl-client", "fl-admin"):
        realm.add_role(role)
    for path in ("/sites/a", "/sites/b"):
        realm.add_group(path)
    grants = {"realmRoles": ["fl-*"], "groups": ["/sites/*"], "audiences": ["superlink"]}
    change_federation(operator, grants=[{"namespaces": {"names": [NAMESPACE]}, **grants}])
    for number in range(bots):
        spec = {
            "realmRoles": ["fl-client"],
            "audiences": ["superlink"],
            "tokens": [{"name": "default", "lifetime": "24h"}],
        }
        operator.cluster.apply(BOT_CLIENT, NAMESPACE, f"bot-{number}", spec)
    for number in range(users):
        spec = {"username": f"ana-{number}", "realmRoles": ["fl-client"], "groups": ["/sites/a"]}
        operator.cluster.apply(FEDERATION_USER, NAMESPACE, f"ana-{number}", spec)


def change_federation(operator: SmallOperator, **changes: Any) -> None:
    """Change sections of the Federation's spec."""
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, **changes})


def calls(operator: SmallOperator) -> Counter[str]:
    """Return how often each operation was called."""
    return Counter(call.operation for call in operator.provider.calls)


def metric(operator: SmallOperator, name: str, **labels: str) -> float:
    """Return the value of a metric."""
    return operator.meter.registry.get_sample_value(name, labels) or 0.0


def repairs(operator: SmallOperator) -> list[str]:
    """Return what Events told about repairs."""
    return [event.message for event in operator.cluster.events if event.reason == "DriftRepaired"]


class Changes:
    """What an administrator does to the estate, by the words that tell of it."""

    def __init__(self, operator: SmallOperator) -> None:
        """Take hold of the realm."""
        self.realm = operator.provider.realm
        self.uuid = operator.status(BOT_CLIENT, "bot-0")["clientUuid"]
        self.subject = operator.status(BOT_CLIENT, "bot-0")["serviceAccountSubject"]
        self.user = operator.status(FEDERATION_USER, "ana-0")["userId"]

    def make(self, change: str) -> None:
        """Do it."""
        realm, user = self.realm, self.realm.users[self.user]
        match change:
            case "secret":
                realm.change_client(self.uuid, secret=Sensitive("by-hand"))
            case "enabled":
                realm.change_client(self.uuid, enabled=False)
            case "protocolMappers":
                realm.add_mapper(self.uuid, "more")
            case "attributes[more]":
                attributes = realm.clients[self.uuid].attributes
                realm.change_client(self.uuid, attributes={**attributes, "more": "by-hand"})
            case "notBefore":
                realm.change_client(self.uuid, not_before=2**40)
            case "roles added (fl-admin)":
                realm.map_role(self.subject, "fl-admin")
            case "roles removed (fl-client)":
                realm.unmap_role(self.subject, "fl-client")
            case "the client (deleted)":
                realm.note(f"clients/{self.uuid}")
                realm.delete_client(self.uuid)
            case "firstName":
                realm.change_user(self.user, first_name="Eve")
            case "groups joined (/sites/b)":
                realm.note(f"users/{self.user}/groups/x")
                user.groups.add("/sites/b")
            case "groups left (/sites/a)":
                realm.note(f"users/{self.user}/groups/x")
                user.groups.discard("/sites/a")
            case _:
                realm.note(f"users/{self.user}")
                del realm.users[self.user]


CHANGES = (
    "secret",
    "enabled",
    "protocolMappers",
    "attributes[more]",
    "notBefore",
    "roles added (fl-admin)",
    "roles removed (fl-client)",
    "the client (deleted)",
    "firstName",
    "groups joined (/sites/b)",
    "groups left (/sites/a)",
    "the user (deleted)",
)


@pytest.mark.parametrize("change", CHANGES)
async def test_an_admin_event_leads_to_a_repair_within_an_interval(change: str) -> None:
    """Without any sweep, and told in an Event that names the field and no value."""
    operator = SmallOperator()
    operator.provider.realm.records_events = True
    estate(operator)
    await operator.advance(60)
    operator.provider.calls.clear()
    Changes(operator).make(change)
    await operator.advance(12)
    assert len(repairs(operator)) == 1
    assert change in repairs(operator)[0]
    assert "by-hand" not in repairs(operator)[0]
    assert not LISTINGS & calls(operator).keys()
    assert metric(operator, "fedid_drift_woken_total", found_by="events") == 1
    await operator.advance(60)
    assert len(repairs(operator)) == 1


@pytest.mark.parametrize("change", CHANGES)
async def test_a_sweep_leads_to_a_repair_within_its_period(change: str) -> None:
    """Where the realm records nothing."""
    operator = SmallOperator()
    estate(operator)
    change_federation(operator, defaults={"tokenLifetime": "24h"})
    await operator.advance(700)
    Changes(operator).make(change)
    await operator.advance(1100)
    assert len(repairs(operator)) == 1
    assert change in repairs(operator)[0]
    await operator.advance(1200)
    assert len(repairs(operator)) == 1
    assert metric(operator, "fedid_drift_woken_total", found_by="sweep") == 1


async def test_a_quiet_realm_costs_one_call_per_interval_whatever_it_holds() -> None:
    """With admin events, between two of the rare sweeps; the Federation's own probe aside."""
    operator = SmallOperator()
    operator.provider.realm.records_events = True
    estate(operator, bots=30, users=10)
    change_federation(operator, drift={"eventsInterval": "10s"}, defaults={"tokenLifetime": "24h"})
    await operator.advance(120)
    operator.provider.calls.clear()
    await operator.advance(HOUR)
    found = calls(operator)
    del found[PROBE]
    assert found == {"admin_events": 360}


async def test_a_sweep_costs_a_call_per_page() -> None:
    """Clients, users, the lists of roles and groups, and the members of each role and group; nothing per object."""
    operator = SmallOperator()
    estate(operator, bots=30, users=12)
    change_federation(operator, drift={"pageSize": 10}, defaults={"tokenLifetime": "24h"})
    await operator.advance(1190)
    operator.provider.calls.clear()
    operator.provider.writes.clear()
    await operator.advance(600)
    found = calls(operator)
    del found[PROBE]
    members = math.ceil(42.5 / 10) + 3  # fl-client has 42; three other roles have nobody
    assert found == {
        "clients_page": 4,  # the last one is empty: 30 clients are three full pages
        "users_page": 2,
        "all_roles": 2,
        "all_groups": 1,
        "role_members": members,
        "group_members": 2 + 2,  # /sites/a has 12; /sites and /sites/b nobody
    }
    assert operator.provider.writes == []


async def test_pages_are_spread_over_the_period() -> None:
    """And never two at an instant, once the first sweep is done."""
    operator = SmallOperator()
    estate(operator, bots=20)
    change_federation(operator, drift={"pageSize": 2})
    await operator.advance(1190)
    instants = []
    begin = operator.provider._begin  # noqa: SLF001 - to see when, not only what

    async def noting(operation: str, target: str = "") -> None:
        if operation in {"clients_page", "role_members"}:
            instants.append(operator.clock.seconds)
        await begin(operation, target)

    operator.provider._begin = noting  # type: ignore[method-assign]  # noqa: SLF001
    await operator.advance(600)
    assert len(instants) > 20
    assert len(set(instants)) == len(instants)
    assert 400 < instants[-1] - instants[0] <= 600


async def test_a_sweep_goes_on_at_the_page_that_failed() -> None:
    """Keycloak was away in the middle: nothing before is read again."""
    operator = SmallOperator()
    estate(operator, bots=6)
    change_federation(operator, drift={"pageSize": 2})
    await operator.advance(1190)
    operator.provider.calls.clear()
    away = BackendUnavailableError("Keycloak is away", backend="keycloak")
    operator.provider.failures.add("clients_page", away, when=lambda first: first == "2")
    await operator.advance(600)
    pages = [call.target for call in operator.provider.calls if call.operation == "clients_page"]
    assert pages == ["0", "2", "2", "4", "6"]


async def test_clients_that_go_while_paging_lead_to_looks_and_to_nothing_else() -> None:
    """The pages move up by a stranger's deletion; whoever was missed is looked at once."""
    operator = SmallOperator()
    for number in range(4):
        operator.provider.realm.add_client(f"a-stranger-{number}")
    estate(operator, bots=6)
    change_federation(operator, drift={"pageSize": 2})
    await operator.advance(620)
    operator.provider.writes.clear()
    reads = calls(operator)["read_client"]
    gone: list[str] = []
    begin = operator.provider._begin  # noqa: SLF001 - to act between two pages

    async def deleting(operation: str, target: str = "") -> None:
        if (operation, target) == ("clients_page", "6") and not gone:
            strangers = (c for c in operator.provider.realm.clients.values() if c.owner is None)
            gone.extend(client.client_uuid for client in strangers)
            operator.provider.realm.delete_client(gone[0])
        await begin(operation, target)

    operator.provider._begin = deleting  # type: ignore[method-assign]  # noqa: SLF001
    await operator.advance(600)
    assert gone
    assert operator.provider.writes == []
    assert repairs(operator) == []
    assert calls(operator)["read_client"] - reads == 1


async def test_without_the_role_the_sweep_alone_works_and_the_status_says_so() -> None:
    """And a role that is given later changes the way, without a restart."""
    operator = SmallOperator()
    operator.provider.realm.records_events, operator.provider.may_read_events = True, False
    estate(operator)
    await operator.advance(60)
    federation = ObjectKey(FEDERATION, "", "local")
    told = operator.cluster.bodies[federation]["status"]["drift"]
    assert told["mode"] == "Sweep"
    assert "view-events" in told["message"]
    operator.provider.may_read_events = True
    await operator.advance(61)
    told = operator.cluster.bodies[federation]["status"]["drift"]
    assert told["mode"] == "AdminEvents"
    Changes(operator).make("enabled")
    await operator.advance(11)
    assert len(repairs(operator)) == 1


async def test_a_spec_that_says_never_reads_no_events() -> None:
    """Though the realm has them."""
    operator = SmallOperator()
    operator.provider.realm.records_events = True
    estate(operator)
    change_federation(operator, drift={"adminEvents": "Never"})
    await operator.advance(HOUR)
    assert calls(operator)["admin_events"] == 0
    assert "Never" in operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["status"]["drift"]["message"]


async def test_more_events_than_one_page_holds_are_all_read() -> None:
    """At once, page after page."""
    operator = SmallOperator()
    operator.provider.realm.records_events = True
    estate(operator)
    await operator.advance(60)
    for number in range(1200):
        operator.provider.realm.note(f"clients/stranger-{number}")
    Changes(operator).make("enabled")
    await operator.advance(10)
    assert len(repairs(operator)) == 1
    assert metric(operator, "fedid_admin_events_read_total") == 1201


async def test_an_event_that_appears_late_is_read_and_none_twice() -> None:
    """It carries the instant at which its change began, and is there only when that was committed."""
    operator = SmallOperator()
    realm = operator.provider.realm
    realm.records_events = True
    estate(operator)
    await operator.advance(60)
    Changes(operator).make("enabled")
    late = realm.events.pop()
    await operator.advance(20)
    assert repairs(operator) == []
    realm.events.insert(0, late)
    await operator.advance(10)
    assert len(repairs(operator)) == 1
    await operator.advance(HOUR)
    assert metric(operator, "fedid_admin_events_read_total") == 1


async def test_a_role_that_is_made_anew_is_mapped_again() -> None:
    """An event of the role itself wakes those who use it."""
    operator = SmallOperator()
    realm = operator.provider.realm
    realm.records_events = True
    estate(operator)
    await operator.advance(60)
    realm.delete_role("fl-client")
    realm.add_role("fl-client")
    await operator.advance(15)
    assert len(repairs(operator)) == 5
    assert realm.role("fl-client").role_id in realm.users[Changes(operator).subject].role_ids


async def test_a_restart_over_what_is_in_order_looks_at_no_object_and_writes_nothing() -> None:
    """The first sweep stands for all of them."""
    operator = SmallOperator()
    estate(operator, bots=20, users=10)
    await operator.advance(60)
    operator.restart()
    operator.provider.calls.clear()
    operator.provider.writes.clear()
    operator.cluster.writes.clear()
    await operator.advance(30)
    assert not {"read_client", "role_mappings", "read_user", "user_groups"} & calls(operator).keys()
    assert calls(operator)["clients_page"] == 1
    assert operator.provider.writes == []
    assert operator.cluster.writes == []


@pytest.mark.parametrize("change", CHANGES)
async def test_what_changed_while_no_operator_ran_is_found_by_the_first_sweep(change: str) -> None:
    """At once after the start."""
    operator = SmallOperator()
    estate(operator)
    await operator.advance(60)
    Changes(operator).make(change)
    operator.restart()
    await operator.advance(15)
    assert len(repairs(operator)) == 1
    assert change in repairs(operator)[0]


@pytest.mark.parametrize(
    ("entry", "field", "told"),
    [
        ("client", "client_secret", "the bot secret in Vault"),
        ("client", "token_url", "the bot secret in Vault"),
        ("tokens/default", "token", "token default (what lies in Vault is no token of this client)"),
        ("tokens/default", "expires_at", "token default (the entry in Vault was changed)"),
    ],
)
async def test_a_change_in_vault_is_found_by_the_bots_own_pass(entry: str, field: str, told: str) -> None:
    """Which looks at Keycloak too once it has found something; repaired and told."""
    operator = SmallOperator()
    estate(operator, users=0)
    await operator.advance(60)
    path = f"fedid/{NAMESPACE}/bots/bot-0/{entry}"
    published, mark = operator.store.data_of(path), operator.store.entries[path].mark
    operator.store.put_by_hand(path, {**published, field: "by-hand"}, mark)
    await operator.advance(600)
    assert operator.store.data_of(path)[field] != "by-hand"
    assert repairs(operator) == [f"Changed by hand and put back: {told}"]


async def test_a_quiet_bot_is_compared_with_vault_alone() -> None:
    """Once per resync period, without a call of its own to Keycloak."""
    operator = SmallOperator()
    estate(operator, bots=1, users=0)
    change_federation(operator, defaults={"tokenLifetime": "24h"})
    await operator.advance(60)
    operator.provider.calls.clear()
    operator.store.calls.clear()
    await operator.advance(HOUR)
    assert len([call for call in operator.store.calls if call.path.endswith("/client")]) >= 6
    assert not {"read_client", "role_mappings", "mint"} & calls(operator).keys()
