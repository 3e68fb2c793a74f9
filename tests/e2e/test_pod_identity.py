"""What a pod mounts follows its bot and its own manifest: filled, changed, emptied, replaced, gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.authority import Authority, claims_of
from tests.e2e.hands import Hands
from tests.e2e.operating import Proxies, federation, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually, steadily
from tests.testbed.errors import AnswerError
from tests.testbed.faults import requests_to
from tests.testbed.stack import Stack

TWO_TOKENS = [{"name": "default", "lifetime": "1h"}, {"name": "uploads", "lifetime": "1h"}]


def test_every_placeholder_is_filled_and_the_rest_stays_as_written(tenant: Tenant, authority: Authority) -> None:
    """Several tokens by name, the one named default, ids, addresses, instants, and doubled braces for literal ones."""
    files = {
        "token": "{token}",
        "uploads": "{token:uploads}",
        "config.json": '{{"id": "{clientId}", "sub": "{subject}", "until": "{tokenExpiresAt}", "{{}}": "{{token}}"}}\n',
        "urls": "{issuerUrl} {tokenUrl} {introspectionUrl} {jwksUrl}",
        ".env": "SECRET={clientSecret}",
        "plain": "no placeholder: $HOME %s \\n ünïcödé",
    }
    tenant.apply(bot("trainer", tokens=TWO_TOKENS), pod_identity("trainer", files=files))
    status = tenant.ready("PodIdentity", "trainer")["status"]
    text = (tenant.secret("trainer") or {})["text"]
    default, uploads = claims_of(text["token"]), claims_of(text["uploads"])
    assert default["jti"] != uploads["jti"]
    assert all(authority.introspect(text[key])["active"] for key in ("token", "uploads"))
    issuer = default["iss"]
    endpoint = f"{issuer}/protocol/openid-connect"
    vault = authority.vault(f"fedid/{tenant.namespace}/bots/trainer/tokens/default") or {}
    assert text["config.json"] == (
        f'{{"id": "{tenant.namespace}.trainer", "sub": "{default["sub"]}", "until": "{vault["expires_at"]}", '
        '"{}": "{token}"}\n'
    )
    assert text["urls"] == f"{issuer} {endpoint}/token {endpoint}/token/introspect {endpoint}/certs"
    assert authority.request_token(f"{tenant.namespace}.trainer", text[".env"].removeprefix("SECRET=")).status == 200
    assert text["plain"] == files["plain"]
    assert status["keys"] == sorted(files)
    assert status["tokenExpiresAt"] == min(vault["expires_at"], status["tokenExpiresAt"])


def test_the_default_token_is_the_one_named_so_else_the_only_one(tenant: Tenant) -> None:
    """With one token of any name it is meant; with two of other names, or none, the condition says what to write."""
    one, two = [{"name": "uploads"}], [{"name": "uploads"}, {"name": "reports"}]
    tenant.apply(bot("one", tokens=one), bot("two", tokens=two), bot("none", tokens=[]))
    only = {"token": "{token}"}
    tenant.apply(*(pod_identity(name, files=only) for name in ("one", "two", "none")))
    tenant.apply(pod_identity("secret-only", "none", {"secret": "{clientSecret}"}))
    tenant.ready("PodIdentity", "one")
    assert claims_of(tenant.mounted("one", "token"))["azp"] == f"{tenant.namespace}.one"
    tenant.ready("PodIdentity", "secret-only")
    for name, have in (("two", "reports, uploads"), ("none", "none")):
        told = tenant.reason("PodIdentity", name, "TokenMissing")["message"]
        assert f"tokens are: {have}" in told, told
        assert "{token:<name>}" in told, told
        assert tenant.secret(name) is None
    tenant.apply(pod_identity("two", files={"token": "{token:reports}"}))
    tenant.ready("PodIdentity", "two")


def test_tokens_come_and_go_with_the_bots_spec(tenant: Tenant, authority: Authority) -> None:
    """One that is added is published and mounted; one that is taken away is refused by Keycloak and gone from Vault."""
    tenant.apply(bot("trainer"), pod_identity("trainer", files={"token": "{token}"}))
    tenant.ready("PodIdentity", "trainer")
    base = f"fedid/{tenant.namespace}/bots/trainer/tokens"
    tenant.apply(bot("trainer", tokens=TWO_TOKENS))
    tenant.apply(pod_identity("trainer", files={"token": "{token}", "uploads": "{token:uploads}"}))
    uploads = tenant.mounted("trainer", "uploads")
    default = tenant.mounted("trainer", "token")
    tenant.ready("PodIdentity", "trainer")
    assert (authority.vault(f"{base}/uploads") or {})["token"] == uploads
    tenant.apply(bot("trainer"))
    status = tenant.ready("BotClient", "trainer")["status"]
    assert [token["name"] for token in status["tokens"]] == ["default"]
    assert authority.admin_api_status(uploads) == 401
    assert authority.vault_metadata(f"{base}/uploads") is None
    assert authority.introspect(default)["active"] is True
    assert "uploads" in tenant.reason("PodIdentity", "trainer", "TokenMissing")["message"]
    tenant.apply(pod_identity("trainer", files={"token": "{token}"}))
    tenant.ready("PodIdentity", "trainer")
    eventually(lambda: set((tenant.secret("trainer") or {})["text"]) == {"token"}, "the key is gone, too")
    assert tenant.mounted("trainer", "token") == default


def test_a_changed_manifest_changes_the_secret(tenant: Tenant, proxies: Proxies) -> None:
    """Other templates are written at once; another secretName makes the new Secret first, then the old one goes."""
    tenant.apply(bot("trainer"), pod_identity("trainer", files={"token": "{token}"}))
    tenant.ready("PodIdentity", "trainer")
    token = tenant.mounted("trainer", "token")
    tenant.apply(pod_identity("trainer", files={"bearer": "Authorization: Bearer {token}"}))
    tenant.ready("PodIdentity", "trainer")
    assert (tenant.secret("trainer") or {})["text"] == {"bearer": f"Authorization: Bearer {token}"}
    proxies.clear()
    tenant.apply(pod_identity("trainer", files={"token": "{token}"}, secretName="trainer.credential"))
    tenant.mounted("trainer.credential", "token")
    eventually(lambda: tenant.secret("trainer") is None, "the former Secret is gone")
    tenant.ready("PodIdentity", "trainer")
    assert tenant.mounted("trainer.credential", "token") == token
    secrets = f"/api/v1/namespaces/{tenant.namespace}/secrets"
    writes = proxies.kubernetes.exchanges(requests_to(f"{secrets}.*", "POST|PUT|DELETE"))
    assert [(write.method, write.path) for write in writes] == [("POST", secrets), ("DELETE", f"{secrets}/trainer")]
    assert "DriftRepaired" not in {event["reason"] for event in tenant.events("trainer")}


def test_the_secret_follows_the_life_of_its_bot(tenant: Tenant, authority: Authority) -> None:
    """Missing, made, deleted, made anew: a reason, filled, emptied at once, then only what belongs to the new one."""
    tenant.apply(pod_identity("trainer"))
    assert "does not exist; create it" in tenant.reason("PodIdentity", "trainer", "BotMissing")["message"]
    assert tenant.secret("trainer") is None
    tenant.apply(bot("trainer"))
    tenant.ready("PodIdentity", "trainer")
    former, env = tenant.mounted("trainer", "token"), tenant.mounted("trainer", "client.env")
    uid = (tenant.secret("trainer") or {})["metadata"]["uid"]
    tenant.delete("BotClient", "trainer")
    tenant.emptied("trainer")
    tenant.gone("BotClient", "trainer")
    tenant.reason("PodIdentity", "trainer", "BotMissing")
    found = tenant.secret("trainer") or {}
    assert found["metadata"]["uid"] == uid, "pods must still start: the Secret stays"
    assert set(found["text"]) == {"token", "client.env"}
    assert "fedid.io/expires-at" not in found["metadata"].get("annotations", {})
    tenant.apply(bot("trainer"))
    tenant.ready("PodIdentity", "trainer")
    new = tenant.mounted("trainer", "token")
    assert authority.introspect(new)["active"] is True
    assert authority.introspect(former)["active"] is False
    assert tenant.mounted("trainer", "client.env") != env
    assert "DriftRepaired" not in {event["reason"] for event in tenant.events("trainer")}


def test_another_bot_takes_over_the_secret(tenant: Tenant) -> None:
    """With another botClientRef nothing of the former bot stays, whether the new one is there or not."""
    tenant.apply(bot("first"), bot("second"), pod_identity("pod", "first"))
    tenant.ready("PodIdentity", "pod")
    tenant.apply(pod_identity("pod", "nobody"))
    tenant.reason("PodIdentity", "pod", "BotMissing")
    tenant.emptied("pod")
    tenant.apply(pod_identity("pod", "second"))
    tenant.ready("PodIdentity", "pod")
    assert claims_of(tenant.mounted("pod", "token"))["azp"] == f"{tenant.namespace}.second"
    assert f"CLIENT_ID={tenant.namespace}.second" in tenant.mounted("pod", "client.env")


def test_an_immutable_secret_is_replaced_when_it_must_be_emptied(tenant: Tenant, operator: Operator) -> None:
    """Made immutable while nobody looks: at the bot's deletion an empty one takes its place."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    uid = (tenant.secret("trainer") or {})["metadata"]["uid"]
    operator.stop()
    Hands(tenant.stack).change_secret(tenant.namespace, "trainer", immutable=True)
    tenant.delete("BotClient", "trainer")
    operator.start()
    tenant.gone("BotClient", "trainer")
    tenant.emptied("trainer")
    found = tenant.secret("trainer") or {}
    assert found["metadata"]["uid"] != uid
    assert not found.get("immutable")
    assert found["metadata"]["ownerReferences"][0]["kind"] == "PodIdentity"


def test_the_secret_goes_with_its_pod_identity(tenant: Tenant, authority: Authority) -> None:
    """Garbage collection takes it; the bot and its token live on."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    token = tenant.mounted("trainer", "token")
    tenant.delete("PodIdentity", "trainer")
    tenant.gone("PodIdentity", "trainer")
    eventually(lambda: tenant.secret("trainer") is None, "the Secret is collected")
    steadily(lambda: tenant.secret("trainer") is None, "nobody makes it again", seconds=1)
    assert authority.introspect(token)["active"] is True


HOSTILE = {
    "attribute": "{token.__class__}",
    "index": "{token[0]}",
    "conversion": "{token!r}",
    "format": "{token:>10}",
    "empty": "{}",
    "number": "{0}",
    "unknown": "{password}",
    "nested": "{{token}",
    "space": "{ token }",
    "newline": "{tok\nen}",
    "path": "{token:../../other}",
    "alone": "a } b",
    "private": "{privateKeyPem}",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_placeholder_is_refused_by_the_api_server(tenant: Tenant, case: str) -> None:
    """Whatever a formatter might evaluate never gets as far as the operator."""
    with pytest.raises(AnswerError, match="placeholders are"):
        tenant.apply(pod_identity("hostile", files={"file": HOSTILE[case]}))
    assert tenant.get("PodIdentity", "hostile") is None


@pytest.fixture(scope="module")
def first_version(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation whose Vault mount is of KV version 1."""
    del the_operator
    vault = federation(stack, proxies)["spec"]["vault"] | {"mount": "secrets", "kvVersion": 1}
    with own_federation(stack, proxies, "first", vault=vault, defaults={"resyncPeriod": "5s"}) as name:
        yield name


def _entry(stack: Stack, path: str) -> dict[str, str] | None:
    answer = stack.api("vault").answer("GET", f"/v1/secrets/{path}")
    return answer.body["data"] if answer.status == 200 else None


def test_a_mount_of_version_1_serves_a_whole_life(
    stack: Stack, tenant: Tenant, authority: Authority, first_version: str
) -> None:
    """Made, mounted, renewed, repaired, a token taken away, deleted with proof: without versions or metadata."""
    reference = {"federationRef": {"name": first_version}}
    short = [{"name": "default", "lifetime": "30s"}, {"name": "uploads", "lifetime": "30s"}]
    tenant.apply(bot("trainer", tokens=short, **reference), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    base = f"fedid/{tenant.namespace}/bots/trainer"
    client, first = _entry(stack, f"{base}/client") or {}, tenant.mounted("trainer", "token")
    assert client["fedid.object"] == f"BotClient/{tenant.namespace}/trainer"
    assert authority.request_token(client["client_id"], client["client_secret"]).status == 200
    renewed = tenant.mounted("trainer", "token", lambda text: text != first)
    assert authority.introspect(renewed)["active"] is True
    long = [{"name": "default", "lifetime": "10m"}]
    uploads = (_entry(stack, f"{base}/tokens/uploads") or {})["token"]
    tenant.apply(bot("trainer", tokens=long, **reference))
    tenant.ready("BotClient", "trainer")
    assert _entry(stack, f"{base}/tokens/uploads") is None
    assert authority.admin_api_status(uploads) == 401
    # A change by hand: which side moved cannot be told without versions, so neither secret is trusted.
    Hands(stack).write(f"{base}/client", {**client, "client_secret": "made-by-hand"}, mount="secrets")
    fresh = eventually(
        lambda: (
            found if (found := _entry(stack, f"{base}/client") or {}).get("client_secret") != "made-by-hand" else None
        ),
        "a secret that works",
    )
    assert authority.request_token(client["client_id"], fresh["client_secret"]).status == 200
    tenant.mounted("trainer", "client.env", lambda text: fresh["client_secret"] in text)
    last = tenant.mounted("trainer", "token", lambda text: claims_of(text)["exp"] - claims_of(text)["iat"] == 600)
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    tenant.emptied("trainer")
    assert authority.admin_api_status(last) == 401
    assert _entry(stack, f"{base}/client") is _entry(stack, f"{base}/tokens/default") is None
    assert claims_of(last)["jti"] in tenant.event("trainer", "RevocationProven")["message"]


def test_names_as_long_as_they_may_be_work_throughout(stack: Stack, operator: Operator, authority: Authority) -> None:
    """63 characters of namespace, bot, token and PodIdentity, 253 of the Secret: made, mounted, deleted with proof."""
    del operator
    tenant = Tenant.create(stack, name=_long("tenant"))
    try:
        name, token, secret = _long("bot"), _long("token"), f"{'s' * 126}.{'t' * 126}"
        person = _long("ana")
        wanted: list[Body] = [
            bot(name, tokens=[{"name": token, "lifetime": "10m"}]),
            pod_identity(name, files={"token": f"{{token:{token}}}"}, secretName=secret),
            user(person, email=f"{unique('ana')}@example.org"),
        ]
        tenant.apply(*wanted)
        tenant.ready("BotClient", name)
        tenant.ready("PodIdentity", name)
        tenant.ready("FederationUser", person)
        mounted = tenant.mounted(secret, "token")
        assert claims_of(mounted)["azp"] == f"{tenant.namespace}.{name}"
        assert authority.introspect(mounted)["active"] is True
        tenant.delete("BotClient", name)
        tenant.gone("BotClient", name)
        tenant.emptied(secret)
        assert authority.introspect(mounted)["active"] is False
        assert tenant.event(name, "RevocationProven")
    finally:
        tenant.clean()


def _long(stem: str) -> str:
    return unique(stem).ljust(63, "x")
