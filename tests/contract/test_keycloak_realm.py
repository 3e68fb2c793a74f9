"""What the Keycloak adapter does beyond its port, before a real Keycloak: few calls, least rights, plain words."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fedid.adapters.keycloak.refusals import NEEDED_ROLES, VIEW_EVENTS
from fedid.domain.realm import ClientRecord, UserRecord
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendDeniedError, BackendRejectedError
from tests.contract.conftest import OPERATOR_WITH_SECRET, KeycloakSubject, operator_with_secret
from tests.testbed.keycloak_realm import OPERATOR, OPERATOR_ROLES, REALM
from tests.testbed.paths import REPOSITORY
from tests.testbed.stack import Stack

BROUGHT_BY_KEYCLOAK = {"query-clients", "query-groups", "query-users", "view-clients", "view-users"}
"""Roles of realm-management that come along with others as composites."""


def bot(client_id: str) -> ClientRecord:
    """Return a client with a service account."""
    return ClientRecord(
        client_uuid=str(uuid.uuid4()),
        client_id=client_id,
        owner="installation/uid",
        object_name="BotClient/site-a/trainer",
        description="",
        enabled=True,
        secret=Sensitive(str(uuid.uuid4())),
        flags={"serviceAccountsEnabled": True, "publicClient": False},
        attributes={},
        mappers=(),
    )


def operator(keycloak: KeycloakSubject, *roles: str) -> ClientCredentials:
    """Make an operator's client that has only these roles of realm-management."""
    client_id, secret = f"{keycloak.prefix}-operator", str(uuid.uuid4())
    keycloak.hands.add_client(client_id, secret=secret)
    grant(keycloak, client_id, *roles)
    return ClientCredentials(client_id, Sensitive(secret))


def grant(keycloak: KeycloakSubject, client_id: str, *roles: str) -> None:
    """Give a client's service account roles of realm-management."""
    call = keycloak.hands.call
    client_uuid = call("GET", f"/clients?clientId={client_id}")[0]["id"]
    account = call("GET", f"/clients/{client_uuid}/service-account-user")["id"]
    management = call("GET", "/clients?clientId=realm-management")[0]["id"]
    granted = [role for role in call("GET", f"/clients/{management}/roles") if role["name"] in roles]
    call("POST", f"/users/{account}/role-mappings/clients/{management}", granted)


class TestBudgets:
    """Calls are what Keycloak's capacity is spent on."""

    async def test_bot(self, keycloak: KeycloakSubject) -> None:
        """From nothing to a proven token with a role: four calls, from the first bot on."""
        provider, role = keycloak.provider(), f"{keycloak.prefix}-role"
        keycloak.hands.add_role(role)
        await provider.probe()
        for number in range(3):
            client = bot(f"{keycloak.prefix}-{number}")
            assert client.secret is not None
            keycloak.calls.clear()
            assert await provider.create_client(client)
            account = await provider.service_account_id(client.client_uuid)
            roles = await provider.realm_roles(frozenset({role}))
            await provider.add_roles(account, frozenset(roles.values()))
            minted = await provider.mint(ClientCredentials(client.client_id, client.secret))
            assert minted is not None
            assert role in minted.claims.realm_roles
            assert [call.method for call in keycloak.calls] == ["POST", "GET", "POST", "POST"]

    async def test_renewal(self, keycloak: KeycloakSubject) -> None:
        """A renewed token costs one call, and to verify it none."""
        provider, client = keycloak.provider(), bot(f"{keycloak.prefix}-bot")
        assert client.secret is not None
        await provider.probe()
        await provider.create_client(client)
        keycloak.calls.clear()
        minted = await provider.mint(ClientCredentials(client.client_id, client.secret))
        assert minted is not None
        assert await provider.verify(minted.token) == minted.claims
        assert len(keycloak.calls) == 1

    async def test_user(self, keycloak: KeycloakSubject) -> None:
        """A user with a group and a role costs two calls once the group is known."""
        provider, role, group = keycloak.provider(), f"{keycloak.prefix}-role", f"/{keycloak.prefix}-group"
        keycloak.hands.add_role(role)
        keycloak.hands.add_group(group)
        await provider.probe()
        roles = frozenset((await provider.realm_roles(frozenset({role}))).values())
        await provider.group_ids(frozenset({group}))
        keycloak.calls.clear()
        user = UserRecord(None, f"{keycloak.prefix}-ana", "o", None, True, None, None, None, frozenset({group}))
        user_id = await provider.create_user(user)
        assert user_id is not None
        await provider.add_roles(user_id, roles)
        assert len(keycloak.calls) == 2

    async def test_probe(self, keycloak: KeycloakSubject) -> None:
        """A look at the realm writes nothing but its own token, and stays cheap."""
        provider = keycloak.provider()
        await provider.probe()
        keycloak.calls.clear()
        await provider.probe()
        assert [call.method for call in keycloak.calls] == ["GET"] * len(keycloak.calls)
        assert len(keycloak.calls) <= 7


class TestRights:
    """Least privilege, and which one is missing."""

    def test_documented(self) -> None:
        """The testbed grants what the adapter says that it needs, and the README lists that and what is useful."""
        assert set(OPERATOR_ROLES) == set(NEEDED_ROLES) == {"manage-clients", "manage-users", "view-realm"}
        section = (REPOSITORY / "README.md").read_text().partition("## What the operator may do in Keycloak")[2]
        rows = re.findall(r"^\| `([a-z-]+)`(, not needed)? \|", section.partition("\n## ")[0], re.MULTILINE)
        assert {role for role, optional in rows if not optional} == set(NEEDED_ROLES)
        assert {role for role, optional in rows if optional} == {VIEW_EVENTS}

    async def test_exactly_these(self, keycloak: KeycloakSubject) -> None:
        """The client as which these tests call every part of the port has those roles and the useful one alone."""
        minted = await keycloak.provider().mint(operator_with_secret(keycloak.stack))
        assert minted is not None
        held = {client: set(roles) for client, roles in minted.claims.client_roles.items()}
        assert held.pop("realm-management") - BROUGHT_BY_KEYCLOAK == {*OPERATOR_ROLES, VIEW_EVENTS}
        assert set(held) <= {"account"}

    @pytest.mark.parametrize("missing", OPERATOR_ROLES)
    async def test_missing_role(self, keycloak: KeycloakSubject, missing: str) -> None:
        """The role that is missing is named, and only that one."""
        credentials = operator(keycloak, *(role for role in OPERATOR_ROLES if role != missing))
        facts = await keycloak.provider(credentials=credentials).probe()
        assert facts.missing_permissions == (missing,)

    async def test_granted_later(self, keycloak: KeycloakSubject) -> None:
        """A role that is given after it was missed is seen at the next look, and not when our token ends."""
        credentials = operator(keycloak)
        provider = keycloak.provider(credentials=credentials)
        with pytest.raises(BackendDeniedError):
            await provider.probe()
        grant(keycloak, credentials.client_id, "manage-clients", "manage-users")
        assert (await provider.probe()).missing_permissions == ("view-realm",)
        grant(keycloak, credentials.client_id, "view-realm")
        assert (await provider.probe()).missing_permissions == ()

    async def test_read_only(self, keycloak: KeycloakSubject) -> None:
        """To see clients and users is not to be able to make them."""
        credentials = operator(keycloak, "view-clients", "view-users", "view-realm")
        provider = keycloak.provider(credentials=credentials)
        facts = await provider.probe()
        assert facts.missing_permissions == ("manage-clients", "manage-users")
        with pytest.raises(BackendDeniedError, match="manage-clients"):
            await provider.create_client(bot(f"{keycloak.prefix}-bot"))

    async def test_realm_admin(self, keycloak: KeycloakSubject) -> None:
        """More than needed is enough."""
        facts = await keycloak.provider(credentials=operator(keycloak, "realm-admin")).probe()
        assert facts.missing_permissions == ()

    async def test_no_rights(self, keycloak: KeycloakSubject) -> None:
        """A client without any role is told which ones it needs."""
        provider = keycloak.provider(credentials=operator(keycloak))
        with pytest.raises(BackendDeniedError, match="manage-clients, manage-users, view-realm"):
            await provider.probe()

    async def test_administrative_role(self, keycloak: KeycloakSubject) -> None:
        """Keycloak lets the operator give nobody an administrative role, and the message says so."""
        provider, user_id = keycloak.provider(), keycloak.hands.add_user(f"{keycloak.prefix}-ana")
        roles = await provider.client_roles("realm-management", frozenset({"realm-admin"}))
        with pytest.raises(BackendDeniedError, match="administrative role"):
            await provider.add_roles(user_id, frozenset(roles.values()))


class TestWrongAccess:
    """A Federation that cannot work says why."""

    async def test_refused_client(self, keycloak: KeycloakSubject) -> None:
        """A wrong secret is told as `invalid_client`, and the message names the client."""
        provider = keycloak.provider(credentials=ClientCredentials(OPERATOR_WITH_SECRET, Sensitive("wrong")))
        with pytest.raises(BackendDeniedError, match=rf"{OPERATOR_WITH_SECRET} \(invalid_client\)"):
            await provider.probe()

    async def test_no_realm(self, keycloak: KeycloakSubject) -> None:
        """A realm that does not exist has a reason of its own."""
        with pytest.raises(BackendRejectedError, match=f"no realm {keycloak.prefix}") as caught:
            await keycloak.provider(realm=keycloak.prefix).probe()
        assert caught.value.reason == "RealmNotFound"

    async def test_other_issuer(self, keycloak: KeycloakSubject) -> None:
        """An issuer that tokens will not carry is told with both and the field."""
        wrong = "https://elsewhere.example/realms/fl"
        with pytest.raises(BackendRejectedError, match=r"keycloak\.issuerUrl") as caught:
            await keycloak.provider(issuer_url=wrong).probe()
        assert caught.value.reason == "IssuerMismatch"
        assert wrong in str(caught.value)
        assert f"{keycloak.stack.keycloak_url}/realms/{REALM}" in str(caught.value)

    async def test_foreign_token(self, keycloak: KeycloakSubject) -> None:
        """A token of another realm is not ours."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin"}
        form["password"] = keycloak.stack.credentials.keycloak_admin_password
        granted = keycloak.stack.keycloak("POST", "/realms/master/protocol/openid-connect/token", form=form)
        assert await keycloak.provider().verify(Sensitive(granted["access_token"])) is None


class TestOwnToken:
    """The operator's own token, before a real Keycloak."""

    async def test_ended_by_somebody(self, keycloak: KeycloakSubject) -> None:
        """When somebody ends our token, the next call gets another one and succeeds, and so does every other."""
        provider = keycloak.provider()
        await provider.probe()
        issued = await provider._access.token.current()  # noqa: SLF001 - to end it behind the adapter's back
        await provider.revoke(issued.token, operator_with_secret(keycloak.stack))
        keycloak.calls.clear()
        assert await asyncio.gather(*(provider.find_client(OPERATOR) for _ in range(8)))
        renewals = [call for call in keycloak.calls if call.method == "POST"]
        assert len(renewals) == 1

    async def test_admin_bot(self, keycloak: KeycloakSubject) -> None:
        """The token of a client that may itself read the realm is accepted like any other."""
        provider = keycloak.provider()
        minted = await provider.mint(operator(keycloak, "realm-admin"))
        assert minted is not None
        assert await provider.token_accepted(minted.token)


@pytest.fixture
def other_realm(stack: Stack) -> Iterator[str]:
    """Give a test a realm of its own, as Keycloak makes it."""
    name = f"ct{uuid.uuid4().hex[:10]}"
    stack.keycloak("POST", "/admin/realms", {"realm": name, "enabled": True})
    yield name
    stack.keycloak("DELETE", f"/admin/realms/{name}")


class TestUserProfile:
    """Keycloak drops undeclared attributes without a word."""

    async def test_marks(self, keycloak: KeycloakSubject, other_realm: str, stack: Stack) -> None:
        """A realm whose user profile does not take our marks is found out; one that does is not."""
        admin = f"/admin/realms/{other_realm}"
        secret = str(uuid.uuid4())
        client = {"clientId": "op", "secret": secret, "serviceAccountsEnabled": True, "publicClient": False}
        stack.keycloak("POST", f"{admin}/clients", client)
        client_uuid = stack.keycloak("GET", f"{admin}/clients?clientId=op")[0]["id"]
        account = stack.keycloak("GET", f"{admin}/clients/{client_uuid}/service-account-user")["id"]
        management = stack.keycloak("GET", f"{admin}/clients?clientId=realm-management")[0]["id"]
        roles = stack.keycloak("GET", f"{admin}/clients/{management}/roles")
        mine = [role for role in roles if role["name"] in OPERATOR_ROLES]
        stack.keycloak("POST", f"{admin}/users/{account}/role-mappings/clients/{management}", mine)
        provider = keycloak.provider(realm=other_realm, credentials=ClientCredentials("op", Sensitive(secret)))
        assert not (await provider.probe()).owner_attributes_kept
        profile = stack.keycloak("GET", f"{admin}/users/profile")
        for policy, kept in (("ADMIN_VIEW", False), ("ADMIN_EDIT", True), ("ENABLED", True)):
            stack.keycloak("PUT", f"{admin}/users/profile", {**profile, "unmanagedAttributePolicy": policy})
            assert (await provider.probe()).owner_attributes_kept is kept
            user = UserRecord(None, f"ana-{policy.lower()}", "owner", "object", True, None, None, None)
            user_id = await provider.create_user(user)
            assert user_id is not None
            marks = {"owner": "owner", "object_name": "object"} if kept else {"owner": None, "object_name": None}
            assert await provider.read_user(user_id) == replace(user, user_id=user_id, email_verified=False, **marks)
