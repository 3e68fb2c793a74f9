"""People on real servers: what a manifest gives them, and that nothing of them is good once it is taken back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.authority import REALM, Authority
from tests.e2e.mail import mail_server
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.people import PASSWORD
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.faults import requests_to
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

ADMIN = f"/admin/realms/{REALM}"
PROTOCOL = f"/realms/{REALM}/protocol/openid-connect"
LOGIN_CLIENT = "people-login"
ATTRIBUTE, PROVIDER = "site", "university"
POLICY = "length(20) and digits(2) and upperCase(2) and specialChars(1) and notUsername(undefined)"
EVERYTHING = grant(
    clientRoles={"superlink": ["*"]},
    attributes=[ATTRIBUTE],
    identityProviders=[PROVIDER],
    emailVerified=True,
    adopt=True,
    retain=True,
)


@pytest.fixture(scope="module")
def realm(stack: Stack) -> Iterator[None]:
    """A realm with an attribute, an identity provider, a role of a client, a password policy, and a way to log in."""
    profile = stack.keycloak("GET", f"{ADMIN}/users/profile")
    profile["attributes"] = [one for one in profile["attributes"] if one["name"] != ATTRIBUTE]
    declared = {"name": ATTRIBUTE, "permissions": {"view": ["admin"], "edit": ["admin"]}, "multivalued": True}
    stack.keycloak("PUT", f"{ADMIN}/users/profile", {**profile, "attributes": [*profile["attributes"], declared]})
    config = {"clientId": "unused", "clientSecret": "unused"}
    config |= dict.fromkeys(("authorizationUrl", "tokenUrl"), "https://unused.invalid")
    provider = {"alias": PROVIDER, "providerId": "oidc", "config": config}
    stack.keycloak("POST", f"{ADMIN}/identity-provider/instances", provider, accept=(409,))
    login = {"clientId": LOGIN_CLIENT, "publicClient": True, "directAccessGrantsEnabled": True}
    stack.keycloak("POST", f"{ADMIN}/clients", login, accept=(409,))
    superlink = stack.keycloak("GET", f"{ADMIN}/clients?clientId=superlink")[0]["id"]
    stack.keycloak("POST", f"{ADMIN}/clients/{superlink}/roles", {"name": "submit"}, accept=(409,))
    stack.keycloak("PUT", ADMIN, {"passwordPolicy": POLICY})
    yield
    stack.keycloak("PUT", ADMIN, {"passwordPolicy": ""})
    stack.keycloak("PUT", f"{ADMIN}/users/profile", profile)
    stack.keycloak("DELETE", f"{ADMIN}/identity-provider/instances/{PROVIDER}")
    stack.keycloak("DELETE", f"{ADMIN}/clients/{superlink}/roles/submit")
    found = stack.keycloak("GET", f"{ADMIN}/clients?clientId={LOGIN_CLIENT}")[0]["id"]
    stack.keycloak("DELETE", f"{ADMIN}/clients/{found}")


@pytest.fixture
def reference(stack: Stack, proxies: Proxies, operator: Operator, realm: None) -> Iterator[dict[str, Any]]:
    """What a spec says to belong to a Federation that grants everything."""
    del operator, realm
    with own_federation(stack, proxies, "people", grants=[EVERYTHING]) as name:
        yield {"federationRef": {"name": name}}


def log_in(stack: Stack, username: str, password: str, *, offline: bool = False) -> Answer:
    """Request tokens with a password (RFC 6749 section 4.3)."""
    scope = "openid offline_access" if offline else "openid"
    form = {"grant_type": "password", "client_id": LOGIN_CLIENT, "scope": scope}
    form |= {"username": username, "password": password}
    return stack.api("keycloak").answer("POST", f"{PROTOCOL}/token", form=form, headers={"Authorization": ""})


@dataclass(frozen=True, slots=True)
class Held:
    """Everything that a person holds: a password, and the tokens of a login and of one for good."""

    stack: Stack
    authority: Authority
    username: str
    access: str
    refresh: str
    offline: str

    @classmethod
    def by(cls, stack: Stack, authority: Authority, username: str) -> Held:
        """Log in twice."""
        once, for_good = (log_in(stack, username, PASSWORD_OF_POLICY, offline=offline) for offline in (False, True))
        assert (once.status, for_good.status) == (200, 200), (once.text, for_good.text)
        tokens = once.body
        return cls(
            stack, authority, username, tokens["access_token"], tokens["refresh_token"], for_good.body["refresh_token"]
        )

    def answers(self) -> Mapping[str, int]:
        """Present all of it."""
        bearer = {"Authorization": f"Bearer {self.access}"}
        return {
            "userinfo": self.stack.api("keycloak").answer("GET", f"{PROTOCOL}/userinfo", headers=bearer).status,
            "admin": self.authority.admin_api_status(self.access),
            "refresh": self._refresh(self.refresh),
            "offline": self._refresh(self.offline),
            "password": log_in(self.stack, self.username, PASSWORD_OF_POLICY).status,
        }

    def _refresh(self, token: str) -> int:
        form = {"grant_type": "refresh_token", "client_id": LOGIN_CLIENT, "refresh_token": token}
        api = self.stack.api("keycloak")
        return api.answer("POST", f"{PROTOCOL}/token", form=form, headers={"Authorization": ""}).status


PASSWORD_OF_POLICY = f"{PASSWORD} A1B2!"
GOOD = {"userinfo": 200, "admin": 403, "refresh": 200, "offline": 200, "password": 200}
DEAD = {"userinfo": 401, "admin": 401, "refresh": 400, "offline": 400, "password": 400}


def choose_password(stack: Stack, user_id: str) -> None:
    """Do what a person does at the first login."""
    credential = {"type": "password", "value": PASSWORD_OF_POLICY, "temporary": False}
    stack.keycloak("PUT", f"{ADMIN}/users/{user_id}/reset-password", credential)


def at_home(tenant: Tenant, stack: Stack, name: str) -> str:
    """Wait until a user is Ready, give it a password as its first mail would, and return its id."""
    user_id = str(tenant.ready("FederationUser", name)["status"]["userId"])
    choose_password(stack, user_id)
    return user_id


def test_a_manifest_gives_and_takes_everything(
    reference: dict[str, Any], tenant: Tenant, authority: Authority, stack: Stack
) -> None:
    """Attributes, verified address, clients' roles, links, required actions; out of the spec they go again."""
    person = unique("ana")
    link = {"identityProvider": PROVIDER, "userId": f"u-{person}", "userName": "Ana"}
    full = {"attributes": {ATTRIBUTE: ["a", "b"]}, "emailVerified": True, "clientRoles": {"superlink": ["submit"]}}
    full |= {"identityProviderLinks": [link], "requiredActions": ["CONFIGURE_TOTP"]}
    tenant.apply(user(person, **full, **reference))
    user_id = tenant.ready("FederationUser", person)["status"]["userId"]
    found = stack.keycloak("GET", f"{ADMIN}/users/{user_id}")
    assert sorted(found["attributes"][ATTRIBUTE]) == ["a", "b"]
    assert found["emailVerified"] is True
    assert found["federatedIdentities"] == [link]
    assert found["requiredActions"] == ["CONFIGURE_TOTP"]
    mappings = stack.keycloak("GET", f"{ADMIN}/users/{user_id}/role-mappings")
    assert [role["name"] for role in mappings["clientMappings"]["superlink"]["mappings"]] == ["submit"]
    assert stack.keycloak("GET", f"{ADMIN}/users/{user_id}/credentials") == []

    tenant.apply(user(person, **reference))
    eventually(lambda: "applied" not in (tenant.get("FederationUser", person) or {})["status"], "all taken back")
    found = stack.keycloak("GET", f"{ADMIN}/users/{user_id}")
    assert ATTRIBUTE not in found["attributes"]
    assert (found["emailVerified"], found["federatedIdentities"]) == (False, [])
    assert found["requiredActions"] == ["CONFIGURE_TOTP"]
    assert "clientMappings" not in stack.keycloak("GET", f"{ADMIN}/users/{user_id}/role-mappings")
    assert authority.groups(user_id) == {"/sites/a"}


def test_nothing_of_a_deleted_user_is_good_also_when_the_name_comes_back(
    reference: dict[str, Any], tenant: Tenant, authority: Authority, stack: Stack
) -> None:
    """Password, access, refresh and offline token: each is good before, and refused from the proof on."""
    person = unique("ana")
    tenant.apply(user(person, **reference))
    user_id = at_home(tenant, stack, person)
    held = Held.by(stack, authority, person)
    assert held.answers() == GOOD
    tenant.delete("FederationUser", person)
    tenant.gone("FederationUser", person)
    assert held.answers() == DEAD
    assert stack.api("keycloak").answer("GET", f"{ADMIN}/users/{user_id}").status == 404
    told = tenant.event(person, "RevocationProven")["message"]
    assert f"{user_id} answers 404" in told
    assert "1 offline sessions" in told, told

    tenant.apply(user(person, **reference))
    assert at_home(tenant, stack, person) != user_id
    assert held.answers() == {**DEAD, "password": 200}, "the name is another user's now, who chose the same password"


def test_nothing_of_a_suspended_user_is_good_also_once_it_is_back(
    reference: dict[str, Any], tenant: Tenant, authority: Authority, stack: Stack
) -> None:
    """The account stays with its password; the sessions of before never come back. Likewise when it expires."""
    person = unique("ana")
    tenant.apply(user(person, **reference))
    user_id = at_home(tenant, stack, person)
    held = Held.by(stack, authority, person)
    tenant.apply(user(person, suspend=True, **reference))
    tenant.reason("FederationUser", person, "Suspended")
    assert held.answers() == DEAD
    proof = tenant.condition("FederationUser", person, "Revoked") or {}
    assert (proof["status"], proof["reason"]) == ("True", "Proven")
    assert f"{user_id} is disabled and has no session" in proof["message"]

    soon = (datetime.now(UTC) + timedelta(seconds=8)).isoformat()
    tenant.apply(user(person, suspend=False, expiresAt=soon, **reference))
    tenant.ready("FederationUser", person)
    assert held.answers() == {**DEAD, "password": 200}
    again = Held.by(stack, authority, person)
    assert again.answers() == GOOD
    tenant.reason("FederationUser", person, "Expired")
    assert again.answers() == DEAD


def test_an_initial_password_is_in_vault_alone_and_is_made_once(
    reference: dict[str, Any], tenant: Tenant, authority: Authority, stack: Stack, proxies: Proxies
) -> None:
    """Keycloak takes it and asks for another; once the user has chosen that, no look brings the first one back."""
    person = unique("ana")
    path = f"fedid/{tenant.namespace}/users/{person}/initial-password"
    tenant.apply(user(person, initialPassword="Generate", **reference))
    user_id = tenant.ready("FederationUser", person)["status"]["userId"]
    entry = authority.vault(path)
    assert entry is not None
    assert (entry["username"], entry["temporary"], entry["state"]) == (person, "true", "current")
    assert log_in(stack, person, entry["password"]).body["error_description"] == "Account is not fully set up"
    assert log_in(stack, person, "wrong").body["error_description"] == "Invalid user credentials"
    choose_password(stack, user_id)
    proxies.clear()
    tenant.apply(user(person, initialPassword="Generate", firstName="Anna", **reference))
    eventually(lambda: stack.keycloak("GET", f"{ADMIN}/users/{user_id}")["firstName"] == "Anna", "the name changed")
    tenant.ready("FederationUser", person)
    assert log_in(stack, person, PASSWORD_OF_POLICY).status == 200
    assert authority.vault(path) == entry
    assert proxies.keycloak.exchanges(requests_to(".*/reset-password")) == ()
    tenant.delete("FederationUser", person)
    tenant.gone("FederationUser", person)
    assert authority.vault_metadata(path) is None


def test_a_user_is_told_by_mail_or_the_manifest_says_why_not(
    reference: dict[str, Any], tenant: Tenant, stack: Stack
) -> None:
    """Without a mail server the user is Ready all the same; with one, one mail leads to the required actions."""
    silent, person = unique("ben"), unique("ana")
    with mail_server(stack) as mailbox:
        tenant.apply(user(person, notify=True, requiredActions=["VERIFY_EMAIL"], **reference))
        told = tenant.ready("FederationUser", person)["status"]
        assert told["notification"]["state"] == "Sent", told
        (mail,) = mailbox.to(f"{person}@example.org")
        assert f"/realms/{REALM}/login-actions/action-token" in mail
        tenant.apply(user(person, notify=True, requiredActions=["VERIFY_EMAIL"], firstName="Anna", **reference))
        eventually(
            lambda: (tenant.get("FederationUser", person) or {})["status"]["observedGeneration"] == 2, "another pass"
        )
        assert len(mailbox.to(f"{person}@example.org")) == 1
    tenant.apply(user(silent, notify=True, **reference))
    told = tenant.ready("FederationUser", silent)["status"]
    assert told["notification"]["state"] == "Failed"
    assert told["notification"]["message"] in tenant.event(silent, "MailNotSent")["message"]


def test_an_account_that_was_retained_is_taken_over_by_the_next(
    reference: dict[str, Any], tenant: Tenant, authority: Authority, stack: Stack
) -> None:
    """Disabled and nobody's in between, and nothing of before is good; afterwards it is the same account."""
    person = unique("ana")
    tenant.apply(user(person, deletionPolicy="Retain", **reference))
    user_id = at_home(tenant, stack, person)
    held = Held.by(stack, authority, person)
    tenant.delete("FederationUser", person)
    tenant.gone("FederationUser", person)
    assert held.answers() == DEAD
    found = authority.user(person) or {}
    assert (found["id"], found["enabled"]) == (user_id, False)
    assert "fedid.owner" not in found.get("attributes", {})
    tenant.apply(user(person, **reference))
    told = tenant.reason("FederationUser", person, "Conflict")["message"]
    assert "spec.adopt: true" in told
    tenant.apply(user(person, adopt=True, **reference))
    assert tenant.ready("FederationUser", person)["status"]["userId"] == user_id
    assert held.answers() == {**DEAD, "password": 200}


def test_a_crowd_takes_three_calls_each_and_hashes_nothing(
    reference: dict[str, Any], tenant: Tenant, stack: Stack, proxies: Proxies
) -> None:
    """Create, read back, roles; no password comes into being that nobody asked for."""
    crowd = [unique("crowd") for _ in range(30)]
    proxies.clear()
    tenant.apply(*(user(name, **reference) for name in crowd))
    ids = [tenant.ready("FederationUser", name)["status"]["userId"] for name in crowd]
    assert len(proxies.keycloak.exchanges(requests_to(f"{ADMIN}/users", "POST"))) == len(crowd)
    for user_id in ids:
        mine = [one.method for one in proxies.keycloak.exchanges(requests_to(f"{ADMIN}/users/{user_id}.*"))]
        assert sorted(mine) == ["GET", "POST"], "beside the create itself"
        assert stack.keycloak("GET", f"{ADMIN}/users/{user_id}/credentials") == []
