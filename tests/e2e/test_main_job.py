"""The main job: manifests become identities, change with them, are kept true, and end."""

from __future__ import annotations

from tests.e2e.authority import Authority, claims_of
from tests.e2e.operating import Proxies
from tests.e2e.tenancy import Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.faults import requests_to
from tests.testbed.proxy import Exchange
from tests.testbed.stack import Stack


def test_three_of_each_kind_in_two_namespaces_become_ready_with_tokens_that_are_accepted(
    stack: Stack, tenant: Tenant, authority: Authority
) -> None:
    """A whole manifest set becomes Ready, and its tokens carry sub, roles and audience and pass introspection."""
    other = Tenant.create(stack)
    try:
        for where, names in ((tenant, ("one", "two")), (other, ("three",))):
            people = [unique(name) for name in names]
            for name in names:
                where.apply(pod_identity(name), bot(name))
            where.apply(*(user(person) for person in people))
            for name in names:
                where.ready("BotClient", name)
                where.ready("PodIdentity", name)
                token = where.mounted(name, "token")
                answer = authority.introspect(token)
                assert answer["active"] is True
                assert answer["sub"] == where.ready("BotClient", name)["status"]["serviceAccountSubject"]
                assert "fl-client" in answer["realm_access"]["roles"]
                assert "superlink" in answer["aud"]
                assert answer["azp"] == f"{where.namespace}.{name}"
            for person in people:
                where.ready("FederationUser", person)
                account = authority.user(person)
                assert account is not None
                assert account["email"] == f"{person}@example.org"
                assert authority.groups(account["id"]) == {"/sites/a"}
                assert authority.realm_roles(account["id"]) == {"fl-member"}
    finally:
        other.clean()


def test_what_is_mounted_is_what_vault_holds_and_what_keycloak_takes(tenant: Tenant, authority: Authority) -> None:
    """The Secret, Vault and Keycloak agree on client id, secret, token and issuer."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    env = dict(line.split("=", 1) for line in tenant.mounted("trainer", "client.env").splitlines())
    client = authority.vault(f"fedid/{tenant.namespace}/bots/trainer/client")
    token = authority.vault(f"fedid/{tenant.namespace}/bots/trainer/tokens/default")
    assert client is not None
    assert token is not None
    assert env["CLIENT_SECRET"] == client["client_secret"]
    assert env["CLIENT_ID"] == client["client_id"] == f"{tenant.namespace}.trainer"
    assert env["ISSUER"] == client["issuer"] == claims_of(token["token"])["iss"]
    assert env["TOKEN_URL"] == client["token_url"]
    assert tenant.mounted("trainer", "token") == token["token"]
    assert set(token) == {"token", "token_type", "issued_at", "expires_at"}
    assert authority.request_token(env["CLIENT_ID"], env["CLIENT_SECRET"]).status == 200


def test_a_bot_costs_at_most_four_keycloak_calls_and_five_writes_to_the_cluster(
    tenant: Tenant, proxies: Proxies
) -> None:
    """Create to Ready: client, service account, roles, token; finalizer and status besides the tenant's own apply."""
    tenant.apply(bot("warm-up"))
    tenant.ready("BotClient", "warm-up")
    proxies.clear()
    tenant.apply(bot("counted"))
    tenant.ready("BotClient", "counted")
    own = [f"{e.method} {e.path}" for e in proxies.keycloak.exchanges() if not _is_of_the_realm(e)]
    assert len(own) <= 4, own
    writes = proxies.kubernetes.exchanges(requests_to(f".*/{tenant.namespace}/botclients/counted.*", "PATCH|PUT|POST"))
    assert 1 + len(writes) <= 5, writes


def _is_of_the_realm(exchange: Exchange) -> bool:
    """Tell whether it is the Federation's, however many bots there are: keys, the log, roles, lists page by page."""
    return exchange.path.endswith(("/certs", "/admin-events", "/fl/roles")) or "first=" in exchange.query


def test_a_change_of_the_spec_reaches_keycloak_and_the_token(tenant: Tenant, authority: Authority) -> None:
    """Roles come and go exactly as declared, and a token that says more than the spec is ended."""
    tenant.apply(bot("trainer", realmRoles=["fl-client", "fl-admin"]))
    uuid = tenant.ready("BotClient", "trainer")["status"]["clientUuid"]
    path = f"fedid/{tenant.namespace}/bots/trainer/tokens/default"
    wide = (authority.vault(path) or {})["token"]
    tenant.apply(bot("trainer", realmRoles=["fl-member"]))
    tenant.ready("BotClient", "trainer")
    assert authority.service_account_roles(uuid) == {"fl-member"}
    narrow = (authority.vault(path) or {})["token"]
    assert {"fl-client", "fl-admin"}.isdisjoint(claims_of(narrow)["realm_access"]["roles"])
    assert authority.introspect(narrow)["active"] is True
    assert authority.introspect(wide)["active"] is False


def test_deletion_ends_with_the_proof(tenant: Tenant, authority: Authority) -> None:
    """The very token last published is refused, the secret gets invalid_client, Vault answers 404, an Event says so."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    token = tenant.mounted("trainer", "token")
    secret = (authority.vault(f"fedid/{tenant.namespace}/bots/trainer/client") or {})["client_secret"]
    assert authority.admin_api_status(token) == 403
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert authority.admin_api_status(token) == 401
    assert authority.introspect(token)["active"] is False
    refused = authority.request_token(f"{tenant.namespace}.trainer", secret)
    assert (refused.status, refused.body["error"]) == (401, "invalid_client")
    for path in ("client", "tokens/default"):
        assert authority.vault_metadata(f"fedid/{tenant.namespace}/bots/trainer/{path}") is None
    proof = tenant.event("trainer", "RevocationProven")["message"]
    assert claims_of(token)["jti"] in proof
    assert "refused (401)" in proof
    assert "invalid_client" in proof
    mounted = tenant.secret("trainer")
    assert mounted is not None
    assert set(mounted["text"].values()) == {""}


def test_a_token_of_a_deleted_bot_stays_dead_when_the_client_id_is_created_anew(
    tenant: Tenant, authority: Authority
) -> None:
    """Invariant 2: neither the published token nor one that a pod minted itself comes back to life."""
    tenant.apply(bot("trainer"))
    tenant.ready("BotClient", "trainer")
    base = f"fedid/{tenant.namespace}/bots/trainer"
    published = (authority.vault(f"{base}/tokens/default") or {})["token"]
    client = authority.vault(f"{base}/client") or {}
    minted = authority.request_token(client["client_id"], client["client_secret"]).body["access_token"]
    tenant.delete("BotClient", "trainer")
    # The very last moment: as long as Keycloak lets the pod mint, it does.
    while (answer := authority.request_token(client["client_id"], client["client_secret"])).status == 200:
        minted = answer.body["access_token"]
    tenant.gone("BotClient", "trainer")
    tenant.apply(bot("trainer"))
    tenant.ready("BotClient", "trainer")
    fresh = (authority.vault(f"{base}/tokens/default") or {})["token"]
    assert authority.introspect(fresh)["active"] is True
    for dead in (published, minted):
        assert authority.introspect(dead)["active"] is False
        assert authority.admin_api_status(dead) == 401
    again = authority.request_token(client["client_id"], client["client_secret"])
    assert again.status == 401


def test_a_token_is_renewed_before_it_expires(tenant: Tenant, authority: Authority) -> None:
    """A consumer that holds the mounted file always holds a living token, and the old one is not ended early."""
    tenant.apply(bot("trainer", tokens=[{"name": "default", "lifetime": "30s"}]), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    first = tenant.mounted("trainer", "token")

    def renewed() -> str | None:
        now = tenant.mounted("trainer", "token")
        assert authority.introspect(now)["active"] is True, "a mounted token was dead"
        return now if now != first else None

    second = eventually(renewed, "a renewed token is mounted")
    assert claims_of(second)["iat"] < claims_of(first)["exp"]


def test_a_deleted_user_is_gone_with_its_sessions(tenant: Tenant, authority: Authority) -> None:
    """The account is gone by id, and an Event says so."""
    name = unique("ana")
    tenant.apply(user(name))
    user_id = tenant.ready("FederationUser", name)["status"]["userId"]
    tenant.delete("FederationUser", name)
    tenant.gone("FederationUser", name)
    answer = authority.stack.api("keycloak").answer("GET", f"/admin/realms/fl/users/{user_id}")
    assert answer.status == 404
    assert user_id in tenant.event(name, "RevocationProven")["message"]


def test_a_user_changes_with_its_spec(tenant: Tenant, authority: Authority) -> None:
    """Names, e-mail, enabled flag, groups and roles follow the manifest."""
    name = unique("ana")
    tenant.apply(user(name))
    tenant.ready("FederationUser", name)
    tenant.apply(
        user(
            name, firstName="Bea", email="bea@example.org", enabled=False, groups=["/sites/b"], realmRoles=["fl-admin"]
        )
    )
    user_id = tenant.ready("FederationUser", name)["status"]["userId"]
    account = authority.user(name) or {}
    assert (account["firstName"], account["email"], account["enabled"]) == ("Bea", "bea@example.org", False)
    assert authority.groups(user_id) == {"/sites/b"}
    assert authority.realm_roles(user_id) == {"fl-admin"}
