"""Suspended or expired, a bot is nothing to anybody; brought back, it is another one: on real servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.e2e.authority import Authority, claims_of
from tests.e2e.operating import Proxies
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually, steadily
from tests.testbed.faults import Status, requests_to

FINALIZER = "fedid.io/revoke"


@dataclass(frozen=True, slots=True)
class Taken:
    """Everything that somebody could take of a bot: its secret, what is mounted, and a token minted beside it."""

    authority: Authority
    client_id: str
    secret: str
    mounted: str
    minted: str

    @classmethod
    def of(cls, tenant: Tenant, authority: Authority) -> Taken:
        """Wait until the bot is mounted, and take it."""
        tenant.ready("BotClient", "trainer")
        tenant.ready("PodIdentity", "trainer")
        entry = authority.vault(f"fedid/{tenant.namespace}/bots/trainer/client") or {}
        client_id, secret = entry["client_id"], entry["client_secret"]
        minted = authority.request_token(client_id, secret).body["access_token"]
        return cls(authority, client_id, secret, tenant.mounted("trainer", "token"), minted)

    def answers(self) -> Mapping[str, int]:
        """Return what Keycloak answers to each: 403 to a token that is good, 401 to one that is not."""
        return {
            "mounted": self.authority.admin_api_status(self.mounted),
            "minted": self.authority.admin_api_status(self.minted),
            "secret": self.authority.request_token(self.client_id, self.secret).status,
        }


GOOD = {"mounted": 403, "minted": 403, "secret": 200}
DEAD = {"mounted": 401, "minted": 401, "secret": 401}


def assert_withdrawn(tenant: Tenant, authority: Authority, taken: Taken, reason: str) -> None:
    """Wait for the reason; then nothing is left anywhere, and what was taken is refused, with the proof in writing."""
    tenant.reason("BotClient", "trainer", reason)
    tenant.reason("PodIdentity", "trainer", reason)
    tenant.emptied("trainer")
    assert taken.answers() == DEAD
    assert authority.introspect(taken.mounted)["active"] is False
    assert authority.client(taken.client_id) is None
    for path in ("client", "tokens/default"):
        assert authority.vault_metadata(f"fedid/{tenant.namespace}/bots/trainer/{path}") is None
    body = tenant.get("BotClient", "trainer") or {}
    assert FINALIZER not in body["metadata"].get("finalizers", [])
    assert not {"clientUuid", "secret", "tokens", "revocation"} & body["status"].keys()
    proof = tenant.condition("BotClient", "trainer", "Revoked") or {}
    assert (proof["status"], proof["reason"]) == ("True", "Proven")
    token_id = claims_of(taken.mounted)["jti"]
    assert f"token default ({token_id}) is refused (401)" in proof["message"]
    assert "the bot secret is refused (invalid_client)" in proof["message"]
    told = tenant.event("trainer", "RevocationProven")["message"]
    assert proof["message"] in told
    assert f"token {token_id} was accepted at" in told


def in_seconds(seconds: float) -> str:
    """Return the instant in so many seconds, to the microsecond."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_suspended_bot_is_dead_and_what_comes_after_is_another(
    tenant: Tenant, authority: Authority, operator: Operator
) -> None:
    """What was taken is refused after the suspension and after the return; the object lies still in between."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    taken = Taken.of(tenant, authority)
    assert taken.answers() == GOOD
    tenant.apply(bot("trainer", suspend=True))
    assert_withdrawn(tenant, authority, taken, "Suspended")

    def versions() -> list[str]:
        bodies = [tenant.get(kind, "trainer") or {} for kind in ("BotClient", "PodIdentity")]
        return [body["metadata"]["resourceVersion"] for body in (*bodies, tenant.secret("trainer") or {})]

    before, passes = versions(), operator.passes("BotClient")
    steadily(lambda: versions() == before, "nothing is written while it is suspended", seconds=2)
    tenant.touch("BotClient", "trainer")
    eventually(lambda: operator.passes("BotClient") > passes, "a pass over the touched bot")
    touched = versions()
    assert touched[1:] == before[1:]
    steadily(lambda: versions() == touched, "another pass writes nothing", seconds=2)

    tenant.apply(bot("trainer", suspend=False))
    fresh = Taken.of(tenant, authority)
    assert fresh.answers() == GOOD
    assert authority.introspect(fresh.mounted)["active"] is True
    assert fresh.secret != taken.secret
    assert taken.answers() == DEAD
    assert tenant.condition("BotClient", "trainer", "Revoked") is None


def test_a_suspension_that_is_called_off_halfway_kills_what_was_there(
    tenant: Tenant, authority: Authority, proxies: Proxies
) -> None:
    """Also the token that nobody published, which lives for as long as the client does."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    taken = Taken.of(tenant, authority)
    rule = proxies.keycloak.inject(Status(503), requests_to(".*/clients/[^/]+", "DELETE"))
    tenant.apply(bot("trainer", suspend=True))
    eventually(lambda: rule.hits, "the client should have been deleted")
    tenant.emptied("trainer")
    assert taken.answers()["mounted"] == 401
    tenant.apply(bot("trainer"))
    rule.lift()
    fresh = Taken.of(tenant, authority)
    assert fresh.answers() == GOOD
    assert taken.answers() == DEAD


def test_a_bot_expires_by_itself_and_a_later_instant_brings_it_back(tenant: Tenant, authority: Authority) -> None:
    """In a few seconds: good before, refused after, without anybody asking; and deleted while it is expired."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    taken = Taken.of(tenant, authority)
    expires_at = in_seconds(6)
    tenant.apply(bot("trainer", expiresAt=expires_at))
    assert taken.answers() == GOOD
    assert (tenant.condition("BotClient", "trainer") or {})["status"] == "True"
    eventually(lambda: tenant.secret("trainer")["text"]["token"] == "", "the Secret is emptied", seconds=20)
    assert datetime.now(UTC) >= datetime.fromisoformat(expires_at), "it was withdrawn before its instant"
    assert_withdrawn(tenant, authority, taken, "Expired")
    tenant.apply(bot("trainer", expiresAt=in_seconds(3600)))
    fresh = Taken.of(tenant, authority)
    assert fresh.answers() == GOOD
    assert taken.answers() == DEAD
    tenant.apply(bot("trainer", expiresAt=in_seconds(-1)))
    eventually(lambda: fresh.answers() == DEAD, "what came after it is withdrawn as well")
    tenant.reason("BotClient", "trainer", "Expired")
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert taken.answers() == fresh.answers() == DEAD


def test_a_bot_that_expired_before_it_was_made_makes_nothing(tenant: Tenant, authority: Authority) -> None:
    """No client, no path, no Secret, no finalizer; it goes at once."""
    tenant.apply(bot("trainer", expiresAt=in_seconds(-60)), bot("held", suspend=True), pod_identity("trainer"))
    assert "spec.expiresAt was" in tenant.reason("BotClient", "trainer", "Expired")["message"]
    assert "spec.suspend is true" in tenant.reason("BotClient", "held", "Suspended")["message"]
    tenant.reason("PodIdentity", "trainer", "Expired")
    assert tenant.secret("trainer") is None
    for name in ("trainer", "held"):
        assert FINALIZER not in (tenant.get("BotClient", name) or {})["metadata"].get("finalizers", [])
        assert authority.client(f"{tenant.namespace}.{name}") is None
        assert authority.vault_metadata(f"fedid/{tenant.namespace}/bots/{name}/client") is None
        assert {event["reason"] for event in tenant.events(name)} <= {"Expired", "Suspended"}
        tenant.delete("BotClient", name)
        tenant.gone("BotClient", name)
