"""What a person has to mend has a reason of its own, a message that says the next step, an Event; then it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.authority import Authority
from tests.e2e.foundations import OwnRealm, OwnSecret, OwnVault
from tests.e2e.operating import (
    Proxies,
    apply_federation,
    federation,
    federation_condition,
    federation_ready,
    own_federation,
)
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, Body, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.forwarding import Tls
from tests.testbed.paths import StatePaths
from tests.testbed.pki import ensure_pki
from tests.testbed.proxy import Proxy
from tests.testbed.stack import Stack

PATIENCE_SECONDS = 120.0
KEYCLOAK, VAULT = "KeycloakReady", "VaultReady"
EVERYTHING = ("create", "read", "update", "patch", "delete", "list")


def told(stack: Stack, name: str, about: str, reason: str, *words: str) -> None:
    """Wait until a condition of a Federation, and Ready with it, have a reason and words; then for the Event."""

    def look() -> bool:
        found = [federation_condition(stack, name, kind) or {} for kind in {about, "Ready"}]
        return all(c.get("reason") == reason and all(word in c["message"] for word in words) for c in found)

    try:
        eventually(look, f"Federation {name}: {reason}", seconds=PATIENCE_SECONDS)
    except AssertionError as error:
        message = f"{error}; {federation_condition(stack, name, about)}; {federation_condition(stack, name)}"
        raise AssertionError(message) from None
    events = f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{name}"
    eventually(
        lambda: any(e["reason"] == reason for e in stack.kube("GET", events)["items"]), f"Event {reason} of {name}"
    )


def refused(tenant: Tenant, kind: str, name: str, reason: str, *words: str) -> Body:
    """Wait until an identity has a reason, see that the message says the words, and that there is an Event."""
    found = tenant.reason(kind, name, reason, seconds=PATIENCE_SECONDS)
    assert all(word in found["message"] for word in words), found["message"]
    tenant.event(name, reason)
    return found


@contextmanager
def strange_federation(stack: Stack, manifest: Body) -> Iterator[str]:
    """Apply a Federation that need not become Ready, and take it away after its identities."""
    name = manifest["metadata"]["name"]
    apply_federation(stack, manifest)
    path = f"/apis/fedid.io/v1alpha1/federations/{name}"
    try:
        yield name
    finally:
        stack.kube("DELETE", path, accept=(404,))
        eventually(lambda: stack.api("kube").answer("GET", path).status == 404, f"Federation {name} gone")


def strange(stack: Stack, proxies: Proxies, name: str, **changes: Any) -> Body:
    """Return a Federation that is not the default, its sections merged with changes (`keycloak={...}`)."""
    manifest = federation(stack, proxies, name, default=False)
    for section, fields in changes.items():
        manifest["spec"][section] = {**manifest["spec"][section], **fields}
    return manifest


def test_keycloak_laid_stone_by_stone(stack: Stack, proxies: Proxies, tenant: Tenant) -> None:
    """From a missing Secret to an undeclared attribute: each gap is told with what to do, and filling it is noticed."""
    realm = OwnRealm(stack, unique("realm"))
    secret = OwnSecret(stack, unique("access"))
    manifest = strange(
        stack,
        proxies,
        unique("stones"),
        keycloak={
            "realm": realm.name,
            "issuerUrl": f"{stack.keycloak_url}/realms/{realm.name}",
            "auth": {"clientCredentials": {"secretName": secret.name}},
        },
    )
    try:
        with strange_federation(stack, manifest) as name:
            tenant.apply(bot("waiting", federationRef={"name": name}, realmRoles=[]))
            told(stack, name, "Ready", "CredentialsMissing", secret.name, "does not exist", "create it")
            refused(tenant, "BotClient", "waiting", "FederationNotReady", name, "create it")
            secret.hold(client_id="fedid")
            told(stack, name, "Ready", "CredentialsMissing", "lacks the key client-secret")
            secret.hold(client_id="fedid", client_secret="right")
            told(stack, name, KEYCLOAK, "RealmNotFound", realm.name, "check keycloak.realm")
            realm.create()
            realm.add_operator("fedid", "wrong")
            told(stack, name, KEYCLOAK, "BackendDenied", "invalid_client", "client-secret", "keycloak.auth")
            secret.hold(client_id="fedid", client_secret="wrong")
            told(stack, name, KEYCLOAK, "BackendDenied", "has no right", "manage-clients", "realm-management")
            realm.assign("fedid", "manage-users", "view-realm")
            told(stack, name, KEYCLOAK, "PermissionMissing", "lacks manage-clients", "realm-management")
            realm.assign("fedid", "manage-clients")
            told(stack, name, KEYCLOAK, "UserProfileIncomplete", "fedid.owner", "User profile")
            realm.declare_owner_attributes()
            federation_ready(stack, name)
            tenant.ready("BotClient", "waiting")
            tenant.delete("BotClient", "waiting")
            tenant.gone("BotClient", "waiting")
    finally:
        secret.remove()
        realm.remove()


def test_vault_laid_stone_by_stone(stack: Stack, proxies: Proxies, tenant: Tenant, authority: Authority) -> None:
    """From a role that is missing to a mount of the other version: told with what to do, and filling it is noticed."""
    own = OwnVault(stack, unique("own"))
    vault = {"mount": own.name, "auth": {"jwt": {"mount": "jwt", "role": own.name}}}
    try:
        with strange_federation(stack, strange(stack, proxies, unique("mounts"), vault=vault)) as name:
            tenant.apply(bot("waiting", federationRef={"name": name}))
            told(stack, name, VAULT, "BackendDenied", f"role {own.name}", "the role exists", "bound_audiences")
            refused(tenant, "BotClient", "waiting", "FederationNotReady", "the role exists")
            assert authority.client(f"{tenant.namespace}.waiting") is None, "a bot was begun that cannot be finished"
            own.add_role()
            told(stack, name, VAULT, "PermissionMissing", f"create on {own.name}/data/fedid/*", "policy", "mount")
            own.add_role(own.name)
            own.write_policy({"data/fedid/*": EVERYTHING, "metadata/fedid/*": ("create", "read", "update", "list")})
            told(stack, name, VAULT, "MountMismatch", f"no mount {own.name}", "spec.vault.mount")
            own.mount(1)
            told(stack, name, VAULT, "MountMismatch", "KV version 1", "spec.vault.kvVersion to 1")
            own.mount(2)
            told(stack, name, VAULT, "PermissionMissing", f"delete on {own.name}/metadata/fedid/*", "policy")
            own.write_policy({"data/fedid/*": EVERYTHING, "metadata/fedid/*": EVERYTHING})
            federation_ready(stack, name)
            tenant.ready("BotClient", "waiting")
            own.write_policy({"metadata/fedid/*": ("list",)})
            tenant.delete("BotClient", "waiting")
            refused(tenant, "BotClient", "waiting", "BackendDenied", "Waiting for vault", "read on", "policy")
            assert authority.client(f"{tenant.namespace}.waiting") is None, "Keycloak waited for Vault's policy"
            own.write_policy({"data/fedid/*": EVERYTHING, "metadata/fedid/*": EVERYTHING})
            tenant.gone("BotClient", "waiting", seconds=PATIENCE_SECONDS)
    finally:
        own.remove()


def test_a_sealed_vault(stack: Stack, tenant: Tenant, operator: Operator) -> None:
    """A sealed Vault is told as such, by the Federation and by who needs it, and unsealing is all that it takes."""
    tenant.apply(bot("before"))
    tenant.ready("BotClient", "before")
    stack.seal()
    try:
        tenant.apply(bot("sealed"), user(unique("unbothered")))
        refused(tenant, "BotClient", "sealed", "VaultSealed", "sealed", "vault operator unseal")
        told(stack, "local", VAULT, "VaultSealed", "sealed", "vault operator unseal")
        assert (tenant.condition("BotClient", "before") or {})["status"] == "True"
    finally:
        stack.unseal()
    tenant.ready("BotClient", "sealed")
    federation_ready(stack, "local")
    assert operator.running


def test_a_wrong_ca(stack: Stack, proxies: Proxies, tmp_path: Path) -> None:
    """A certificate of an unknown authority is told with the field to set, for Keycloak and for Vault."""
    own = stack.paths
    ensure_pki(strangers := StatePaths(tmp_path))
    tls = Tls(certificate=own.serving_certificate, key=own.serving_key)
    right, wrong = own.ca_certificate.read_text(), strangers.ca_certificate.read_text()
    with Proxy(stack.keycloak_url, tls) as keycloak, Proxy(stack.vault_url, tls) as vault:
        manifest = strange(
            stack,
            proxies,
            unique("trust"),
            keycloak={"url": keycloak.url},
            vault={"url": vault.url, "caBundle": wrong},
        )
        with strange_federation(stack, manifest) as name:
            told(stack, name, KEYCLOAK, "CertificateInvalid", "certificate", "caBundle of keycloak")
            manifest["spec"]["keycloak"]["caBundle"] = right
            apply_federation(stack, manifest)
            told(stack, name, VAULT, "CertificateInvalid", "certificate", "caBundle of vault")
            manifest["spec"]["vault"]["caBundle"] = right
            apply_federation(stack, manifest)
            federation_ready(stack, name)


def test_a_wrong_issuer(stack: Stack, proxies: Proxies, tenant: Tenant, authority: Authority) -> None:
    """An issuerUrl that tokens will not carry is told with both, before anything is made."""
    wrong = f"{proxies.keycloak.url}/realms/fl"
    manifest = strange(stack, proxies, unique("issuer"), keycloak={"issuerUrl": wrong})
    with strange_federation(stack, manifest) as name:
        tenant.apply(bot("waiting", federationRef={"name": name}))
        told(stack, name, KEYCLOAK, "IssuerMismatch", wrong, f"{stack.keycloak_url}/realms/fl", "keycloak.issuerUrl")
        refused(tenant, "BotClient", "waiting", "FederationNotReady", "keycloak.issuerUrl")
        assert authority.client(f"{tenant.namespace}.waiting") is None, "a bot was begun that cannot be finished"
        manifest["spec"]["keycloak"]["issuerUrl"] = f"{stack.keycloak_url}/realms/fl"
        apply_federation(stack, manifest)
        tenant.ready("BotClient", "waiting")
        tenant.delete("BotClient", "waiting")
        tenant.gone("BotClient", "waiting")


def test_what_an_identity_names_must_exist(stack: Stack, proxies: Proxies, tenant: Tenant) -> None:
    """A role, group, Federation, bot or token that does not exist is named, with where to make it; then it goes on."""
    role, group, late, person = unique("fl-late"), unique("late"), unique("late"), unique("ana")
    tenant.apply(bot("roleless", realmRoles=[role]), bot("stray", federationRef={"name": late}), bot("plain"))
    tenant.apply(user(person, groups=[f"/sites/{group}"]))
    tenant.apply(pod_identity("botless"), pod_identity("tokenless", "plain", files={"jwt": "{token:other}"}))
    refused(tenant, "BotClient", "roleless", "RoleMissing", f"realm role {role}", "create it there", "spec")
    refused(tenant, "BotClient", "stray", "FederationMissing", f"Federation {late} does not exist", "create it")
    refused(tenant, "FederationUser", person, "GroupMissing", f"/sites/{group}", "create it there", "spec.groups")
    refused(tenant, "PodIdentity", "botless", "BotMissing", "does not exist", "create it", "spec.botClientRef")
    refused(tenant, "PodIdentity", "tokenless", "TokenMissing", "other", "spec.tokens")
    sites = stack.keycloak("GET", "/admin/realms/fl/group-by-path/sites")["id"]
    stack.keycloak("POST", "/admin/realms/fl/roles", {"name": role})
    stack.keycloak("POST", f"/admin/realms/fl/groups/{sites}/children", {"name": group})
    try:
        with strange_federation(stack, strange(stack, proxies, name=late)):
            both = [{"name": "default", "lifetime": "10m"}, {"name": "other", "lifetime": "10m"}]
            tenant.apply(bot("botless"), bot("plain", tokens=both))
            for name in ("roleless", "stray", "botless", "plain"):
                tenant.ready("BotClient", name, seconds=PATIENCE_SECONDS)
            tenant.ready("FederationUser", person, seconds=PATIENCE_SECONDS)
            for name in ("botless", "tokenless"):
                tenant.ready("PodIdentity", name)
            tenant.delete("BotClient", "stray")
            tenant.gone("BotClient", "stray")
    finally:
        stack.keycloak("DELETE", f"/admin/realms/fl/roles/{role}")
        made = stack.keycloak("GET", f"/admin/realms/fl/group-by-path/sites/{group}")["id"]
        stack.keycloak("DELETE", f"/admin/realms/fl/groups/{made}")


def test_no_default_federation_and_two(stack: Stack, proxies: Proxies, tenant: Tenant) -> None:
    """Without one default who names none waits; two defaults conflict and neither is one; one again and it goes on."""
    local = "/apis/fedid.io/v1alpha1/federations/local"
    rival = strange(stack, proxies, unique("rival"))
    rival["spec"]["default"] = True
    name = rival["metadata"]["name"]
    stack.kube("PATCH", local, {"spec": {"default": False}}, headers=MERGE)
    try:
        tenant.apply(bot("homeless"))
        refused(tenant, "BotClient", "homeless", "FederationMissing", "default: true", "spec.federationRef")
        stack.kube("PATCH", local, {"spec": {"default": True}}, headers=MERGE)
        tenant.ready("BotClient", "homeless")
        with strange_federation(stack, rival):
            told(stack, "local", "Ready", "Conflict", name, "default: true", "give it up")
            told(stack, name, "Ready", "Conflict", "local", "default: true", "give it up")
            assert not any(
                stack.kube("GET", f"/apis/fedid.io/v1alpha1/federations/{f}")["status"]["isDefault"]
                for f in (name, "local")
            )
            tenant.apply(bot("torn"))
            refused(tenant, "BotClient", "torn", "FederationMissing", "local", name, "spec.federationRef")
            assert (tenant.condition("BotClient", "homeless") or {})["status"] == "True"
            rival["spec"]["default"] = False
            apply_federation(stack, rival)
            federation_ready(stack, "local")
            federation_ready(stack, name)
            assert (tenant.ready("BotClient", "torn")["status"]["federation"]) == "local"
    finally:
        stack.kube("PATCH", local, {"spec": {"default": True}}, headers=MERGE)


def test_a_federation_that_is_deleted_while_it_is_needed(stack: Stack, proxies: Proxies, tenant: Tenant) -> None:
    """It stays, still works, and lists who needs it; it goes when they have gone."""
    person = unique("ana")
    with own_federation(stack, proxies, "needed") as name:
        tenant.apply(bot("trainer", federationRef={"name": name}), user(person, federationRef={"name": name}))
        tenant.ready("BotClient", "trainer")
        tenant.ready("FederationUser", person)
        stack.kube("DELETE", f"/apis/fedid.io/v1alpha1/federations/{name}")
        told(stack, name, "Ready", "FederationInUse", f"BotClient/{tenant.namespace}/trainer", "Delete them first")
        told(stack, name, "Ready", "FederationInUse", f"FederationUser/{tenant.namespace}/{person}")
        tenant.delete("BotClient", "trainer")
        tenant.delete("FederationUser", person)
