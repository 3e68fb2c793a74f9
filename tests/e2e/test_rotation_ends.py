"""What ends a credential before its time, in the middle of an overlap, and what a lost answer of Vault does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies
from tests.e2e.rotating import COPY_MOUNT, PATIENCE_SECONDS, Rotating, annotate, rotating_bot
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant
from tests.e2e.waiting import eventually
from tests.testbed.faults import CutAfter, Rule, requests_to


@dataclass(frozen=True, slots=True)
class Taken:
    """Everything of a bot that somebody may have copied."""

    secrets: tuple[str, ...]
    jwts: tuple[str, ...]
    opaque: tuple[str, ...]

    @classmethod
    def of(cls, one: Rotating) -> Taken:
        """Take the published tokens, every secret that is good, and a token that was minted with each of them."""
        secrets = tuple(secret for secret in one.secrets_in_keycloak() if secret)
        answers = [one.authority.request_token(one.client_id, secret) for secret in secrets]
        minted = [answer.body["access_token"] for answer in answers]
        listed = one.entry("tokens/list")
        opaque = tuple(listed[key] for key in ("token", "previous_token") if key in listed)
        return cls(secrets, (one.held().jwt, *minted), opaque)

    def good(self, one: Rotating) -> Mapping[str, list[bool]]:
        """Tell of each whether it is good now."""
        lists = {*one.entry("tokens/list").values(), *one.copy().values()} if one.status().get("clientUuid") else {""}
        return {
            "secrets": [one.accepts(secret) for secret in self.secrets],
            "jwts": [one.authority.admin_api_status(token) == 403 for token in self.jwts],
            "opaque": [token in lists for token in self.opaque],
        }


def everything(*, good: bool) -> Mapping[str, list[bool]]:
    """Return what `Taken.good` tells in the middle of an overlap: two secrets, three jwts, two opaque."""
    return {"secrets": [good] * 2, "jwts": [good] * 3, "opaque": [good] * 2}


@pytest.fixture
def one(tenant: Tenant, authority: Authority) -> Rotating:
    """A bot in the middle of its overlaps."""
    made = Rotating(tenant, authority, "trainer")
    made.apply("1h", opaque_overlap="10m")
    tenant.ready("PodIdentity", "trainer")
    annotate(tenant, "trainer", rotate="all-1")
    made.handled(tokens="all-1", secret="all-1")
    return made


def revoke_now(one: Rotating, value: str) -> None:
    """Ask for it, and wait until everything was made anew."""
    annotate(one.tenant, one.name, revoke_now=value)
    eventually(lambda: one.status().get("revokedNow") == value, f"revoked for {value}", seconds=PATIENCE_SECONDS)
    eventually(lambda: one.held_or_none() is not None, "all is there again", seconds=PATIENCE_SECONDS)
    one.handled()


def test_revoke_now_ends_everything_once_for_each_value(one: Rotating, operator: Operator) -> None:
    """Also the secret before and what was minted with it; a restart does not do it again, another value does."""
    taken = Taken.of(one)
    assert taken.good(one) == everything(good=True)
    revoke_now(one, "leak-1")
    assert taken.good(one) == everything(good=False)
    one.assert_one_of_each()
    second = Taken.of(one)
    passes = operator.passes("BotClient")
    assert operator.stop() == 0
    operator.start()
    eventually(lambda: operator.passes("BotClient") >= 1, "it was looked at again")
    one.tenant.touch("BotClient", one.name)
    eventually(lambda: operator.passes("BotClient") >= 2, "and again")
    assert passes >= 1
    assert all(all(found) for found in second.good(one).values())
    revoke_now(one, "leak-2")
    assert not any(any(found) for found in second.good(one).values())
    one.assert_one_of_each()
    assert taken.good(one) == everything(good=False)


def test_a_suspension_in_an_overlap_ends_both_secrets(one: Rotating) -> None:
    """And all that was ever minted with either; brought back, the bot has one secret, and it is another one."""
    taken = Taken.of(one)
    assert taken.good(one) == everything(good=True)
    wanted = rotating_bot(one.name, "1h", opaque_overlap="10m")
    one.tenant.apply({**wanted, "spec": {**wanted["spec"], "suspend": True}})
    one.tenant.reason("BotClient", one.name, "Suspended")
    one.tenant.emptied(one.name)
    assert taken.good(one) == everything(good=False)
    assert one.held_or_none() is None
    one.tenant.apply(wanted)
    eventually(lambda: one.held_or_none() is not None, "all is there again", seconds=PATIENCE_SECONDS)
    one.handled()
    one.assert_one_of_each()
    assert taken.good(one) == everything(good=False)


COPY = "the copy"
LOST = {
    "r0": ("client",),
    "r1": ("tokens/default",),
    "r2": ("tokens/list",),
    "r3": (COPY,),
    "r4": ("client", "tokens/default", "tokens/list", COPY),
}
"""Bot to those of its writes whose answers are lost."""


def test_a_lost_answer_of_vault_neither_repeats_nor_loses_a_rotation(
    tenant: Tenant, authority: Authority, proxies: Proxies
) -> None:
    """It was carried out: what lies there is what is good, written once; the same for the end of the overlap."""
    bots = [Rotating(tenant, authority, name) for name in LOST]
    for one in bots:
        one.apply("1h")
    for one in bots:
        tenant.ready("PodIdentity", one.name)
    before = {one.name: one.held() for one in bots}
    rules = lose_answers(bots, proxies)
    for one in bots:
        annotate(tenant, one.name, rotate="all-1")
    for one in bots:
        one.handled(tokens="all-1", secret="all-1")
        one.assert_two_secrets(before[one.name])
        assert one.copy()["token"] == one.held().opaque != before[one.name].opaque
        assert one.copy()["previous_token"] == before[one.name].opaque
        assert written(one, before[one.name].versions) == (1, 1, 1), one.name
    assert [rule.hits for rule in rules] == [1] * len(rules)
    rules = lose_answers([one for one in bots if LOST[one.name] != ("tokens/default",)], proxies, but="tokens/default")
    for one in bots:
        tenant.apply(rotating_bot(one.name, "10s"))
    for one in bots:
        one.settled()
        one.handled()
        one.assert_one_of_each()
        assert written(one, before[one.name].versions) == (2, 1, 2), one.name
    assert [rule.hits for rule in rules] == [1] * len(rules)


def lose_answers(bots: list[Rotating], proxies: Proxies, but: str = "") -> list[Rule]:
    """Carry out each bot's next writes of LOST, and lose the answers."""
    return [
        proxies.vault.inject(CutAfter(), requests_to(path_of(one, what), "POST|PUT"), times=1)
        for one in bots
        for what in LOST[one.name]
        if what != but
    ]


def path_of(one: Rotating, what: str) -> str:
    """Return where an entry of a bot, or its copy, is written."""
    if what == COPY:
        return f"/v1/{COPY_MOUNT}/users/{one.status()['serviceAccountSubject']}/federated/{one.name}"
    return f"/v1/secret/data/fedid/{one.tenant.namespace}/bots/{one.name}/{what}"


def written(one: Rotating, before: tuple[int, ...]) -> tuple[int, ...]:
    """Return how often each entry was written since."""
    return tuple(now - then for now, then in zip(one.held().versions, before, strict=True))
