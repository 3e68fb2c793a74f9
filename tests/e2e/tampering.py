"""What people do by hand to things that fedid made, and how it looks when it was put back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.authority import Authority
from tests.e2e.hands import OBJECT, Hands
from tests.e2e.tenancy import Tenant

FOREIGN_SECRET = "made-by-hand-and-never-ours"


@dataclass(slots=True)
class Scene:
    """A bot that is mounted, or a user, right before somebody puts a hand on it."""

    tenant: Tenant
    hands: Hands
    authority: Authority
    name: str
    uuid: str = ""
    subject: str = ""
    """User id of the service account, or of the user."""
    secret: str = ""
    token: str = ""
    other: dict[str, str] = field(default_factory=dict)
    """What a hand remembers for the check."""

    def path(self, entry: str = "client") -> str:
        """Return a path of the bot in Vault."""
        return f"fedid/{self.tenant.namespace}/bots/{self.name}/{entry}"

    @property
    def client_id(self) -> str:
        """The bot's clientId."""
        return f"{self.tenant.namespace}.{self.name}"

    def client(self, name: str) -> object:
        """Return a field of the client."""
        return (self.authority.client(self.client_id) or {}).get(name)

    def attribute(self, name: str) -> str | None:
        """Return an attribute of the client."""
        return ((self.authority.client(self.client_id) or {}).get("attributes") or {}).get(name)

    def account(self, name: str) -> object:
        """Return a field of the user."""
        return (self.authority.user(self.name) or {}).get(name)

    def groups_and_roles(self) -> tuple[set[str], set[str]]:
        """Return what the user is in and has."""
        user_id = str(self.account("id"))
        if user_id == "None":
            return set(), set()
        return self.authority.groups(user_id), self.authority.realm_roles(user_id)

    def vault(self, entry: str = "client") -> dict[str, str]:
        """Return what lies in Vault."""
        return self.authority.vault(self.path(entry)) or {}

    def mounted(self) -> dict[str, str]:
        """Return what the Secret holds."""
        found: dict[str, str] = (self.tenant.secret(self.name) or {}).get("text") or {}
        return found

    def works(self) -> bool:
        """Tell whether all sides agree on a secret and a token that Keycloak takes."""
        secret, token = self.vault().get("client_secret", ""), self.vault("tokens/default").get("token", "")
        mounted = self.mounted()
        return (
            self.authority.request_token(self.client_id, secret).status == 200
            and self.authority.introspect(token)["active"] is True
            and mounted.get("token") == token
            and f"CLIENT_SECRET={secret}" in mounted.get("client.env", "")
        )


@dataclass(frozen=True, slots=True)
class Hand:
    """One thing that somebody does."""

    acts: Callable[[Scene], object]
    put_back: Callable[[Scene], bool]
    told: tuple[str, ...]
    """What the Event must name."""


def _regenerate(scene: Scene) -> None:
    scene.other["by hand"] = scene.hands.regenerate_secret(scene.uuid)


def _fresh_everywhere(scene: Scene) -> bool:
    # The realm keeps two secrets: the one that consumers have is good for the overlap, the one made by hand is not.
    secrets = (scene.secret, scene.other["by hand"])
    answers = [scene.authority.request_token(scene.client_id, secret).status for secret in secrets]
    return scene.works() and scene.vault()["client_secret"] not in secrets and answers == [200, 401]


def _open_flows(scene: Scene) -> None:
    scene.hands.change_client(
        scene.uuid,
        description="mine now",
        standardFlowEnabled=True,
        implicitFlowEnabled=True,
        directAccessGrantsEnabled=True,
        redirectUris=["https://attacker.example/*"],
        webOrigins=["*"],
        rootUrl="https://attacker.example",
    )


def _flows_closed(scene: Scene) -> bool:
    names = ("standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "redirectUris", "webOrigins")
    return not any(map(scene.client, (*names, "rootUrl", "description")))


def _bind_to_certificate(scene: Scene) -> None:
    added = {
        "tls.client.certificate.bound.access.tokens": "true",
        "client.use.lightweight.access.token.enabled": "true",
    }
    scene.hands.change_client(scene.uuid, attributes=added)


def _overwrite_client(scene: Scene) -> None:
    scene.hands.write(scene.path(), {**scene.vault(), "client_secret": FOREIGN_SECRET})


def _overwrite_token(scene: Scene) -> None:
    scene.hands.write(scene.path("tokens/default"), {**scene.vault("tokens/default"), "token": FOREIGN_SECRET})


def _swap_token(scene: Scene) -> None:
    """Another client's token, good in itself, in the place of ours."""
    credentials = scene.authority.stack.credentials
    foreign = scene.authority.request_token("superlink", credentials.superlink_client_secret).body["access_token"]
    scene.hands.write(scene.path("tokens/default"), {**scene.vault("tokens/default"), "token": foreign})


def _soft_delete(scene: Scene) -> None:
    for entry in ("client", "tokens/default"):
        scene.authority.stack.vault("DELETE", f"/v1/secret/data/{scene.path(entry)}")


def _destroy(scene: Scene) -> None:
    for entry in ("client", "tokens/default"):
        version = (scene.authority.vault_metadata(scene.path(entry)) or {})["current_version"]
        scene.authority.stack.vault("PUT", f"/v1/secret/destroy/{scene.path(entry)}", {"versions": [version]})


def _delete_paths(scene: Scene) -> None:
    for entry in ("client", "tokens/default"):
        scene.hands.delete_entry(scene.path(entry))


def _own_roles(scene: Scene) -> set[str]:
    account = scene.hands.service_account(scene.uuid)
    return scene.authority.realm_roles(account)


def _patch_secret(**fields: object) -> Callable[[Scene], None]:
    return lambda scene: scene.hands.change_secret(scene.tenant.namespace, scene.name, **fields)


def _metadata(scene: Scene) -> dict[str, dict[str, str]]:
    return dict((scene.tenant.secret(scene.name) or {}).get("metadata") or {})


BOT_HANDS: dict[str, Hand] = {
    "client-deleted": Hand(
        lambda s: s.hands.delete_client(s.uuid),
        lambda s: s.works() and s.authority.admin_api_status(s.token) == 401,
        ("the client (deleted)",),
    ),
    "secret-regenerated": Hand(_regenerate, _fresh_everywhere, ("secret",)),
    "role-added": Hand(
        lambda s: s.hands.map_role(s.subject, "fl-admin"),
        lambda s: _own_roles(s) == {"fl-client"},
        ("roles added (fl-admin)",),
    ),
    "role-removed": Hand(
        lambda s: s.hands.map_role(s.subject, "fl-client", method="DELETE"),
        lambda s: _own_roles(s) == {"fl-client"},
        ("roles removed (fl-client)",),
    ),
    "mapper-added": Hand(
        lambda s: s.hands.add_mapper(s.uuid, "more", "groups", "/admins"),
        lambda s: set(s.hands.mappers(s.uuid)) == {"audience superlink"},
        ("protocolMappers",),
    ),
    "mapper-removed": Hand(
        lambda s: s.hands.delete_mapper(s.uuid, "audience superlink"),
        lambda s: set(s.hands.mappers(s.uuid)) == {"audience superlink"},
        ("protocolMappers",),
    ),
    "mapper-changed": Hand(
        lambda s: s.hands.change_mapper(s.uuid, "audience superlink", **{"included.custom.audience": "everybody"}),
        lambda s: s.hands.mappers(s.uuid)["audience superlink"]["config"]["included.custom.audience"] == "superlink",
        ("protocolMappers",),
    ),
    "attribute-changed": Hand(
        lambda s: s.hands.change_client(s.uuid, attributes={"access.token.lifespan": "864000"}),
        lambda s: s.attribute("access.token.lifespan") == "3600",
        ("attributes[access.token.lifespan]",),
    ),
    "attribute-added": Hand(
        _bind_to_certificate,
        lambda s: not s.attribute("tls.client.certificate.bound.access.tokens") and s.works(),
        ("attributes[tls.client.certificate.bound.access.tokens]", "attributes[client.use.lightweight"),
    ),
    "name-in-console-changed": Hand(
        lambda s: s.hands.change_client(s.uuid, attributes={OBJECT: "BotClient/elsewhere/other"}),
        lambda s: s.attribute(OBJECT) == f"BotClient/{s.tenant.namespace}/{s.name}",
        ("attributes[fedid.object]",),
    ),
    "disabled": Hand(
        lambda s: s.hands.change_client(s.uuid, enabled=False), lambda s: s.client("enabled") is True, ("enabled",)
    ),
    "not-before-moved": Hand(
        lambda s: s.hands.change_client(s.uuid, notBefore=int(time.time()) + 86400),
        lambda s: int(str(s.client("notBefore"))) <= time.time() + 1,
        ("notBefore",),
    ),
    "flows-opened": Hand(
        _open_flows,
        _flows_closed,
        ("description", "standardFlowEnabled", "directAccessGrantsEnabled", "redirectUris", "webOrigins", "rootUrl"),
    ),
    "authenticator-changed": Hand(
        lambda s: s.hands.change_client(s.uuid, clientAuthenticatorType="client-jwt"),
        lambda s: s.client("clientAuthenticatorType") == "client-secret" and s.works(),
        ("clientAuthenticatorType",),
    ),
    "service-account-taken": Hand(
        lambda s: s.hands.change_client(s.uuid, serviceAccountsEnabled=False),
        lambda s: s.client("serviceAccountsEnabled") is True and _own_roles(s) == {"fl-client"} and s.works(),
        ("serviceAccountsEnabled",),
    ),
    "service-account-deleted": Hand(
        lambda s: s.hands.delete_user(s.subject),
        lambda s: _own_roles(s) == {"fl-client"} and s.works(),
        ("roles removed (fl-client)",),
    ),
    "secret-in-vault-changed": Hand(
        _overwrite_client,
        lambda s: s.works() and s.vault()["client_secret"] == s.secret,
        ("the bot secret in Vault",),
    ),
    "token-in-vault-changed": Hand(_overwrite_token, Scene.works, ("token default (what lies in Vault",)),
    "token-in-vault-swapped": Hand(_swap_token, Scene.works, ("token default (what lies in Vault",)),
    "soft-deleted-in-vault": Hand(_soft_delete, Scene.works, ("token default (it is not in Vault)", "the bot secret")),
    "destroyed-in-vault": Hand(_destroy, Scene.works, ("token default (it is not in Vault)", "the bot secret")),
    "paths-deleted-in-vault": Hand(
        _delete_paths, Scene.works, ("token default (it is not in Vault)", "the bot secret")
    ),
}
POD_HANDS: dict[str, Hand] = {
    "mounted-data-changed": Hand(
        _patch_secret(stringData={"token": FOREIGN_SECRET}), Scene.works, ("Secret mounted-data-changed (token)",)
    ),
    "mounted-key-added": Hand(
        _patch_secret(stringData={"more": FOREIGN_SECRET}),
        lambda s: set(s.mounted()) == {"token", "client.env"},
        ("Secret mounted-key-added (more)",),
    ),
    "mounted-key-removed": Hand(
        _patch_secret(data={"token": None}), Scene.works, ("Secret mounted-key-removed (token)",)
    ),
    "mounted-deleted": Hand(
        lambda s: s.hands.delete_secret(s.tenant.namespace, s.name), Scene.works, ("Secret mounted-deleted (deleted)",)
    ),
    "mounted-label-removed": Hand(
        _patch_secret(metadata={"labels": {"fedid.io/part-of": None}}),
        lambda s: _metadata(s).get("labels", {}).get("fedid.io/part-of") == s.name,
        ("Secret mounted-label-removed (labels or annotations)",),
    ),
    "mounted-annotations-removed": Hand(
        _patch_secret(metadata={"annotations": None}),
        lambda s: "fedid.io/credential-hash" in _metadata(s).get("annotations", {}),
        ("Secret mounted-annotations-removed (annotation fedid.io/credential-hash)",),
    ),
    "mounted-made-immutable": Hand(
        _patch_secret(immutable=True),
        lambda s: not (s.tenant.secret(s.name) or {"immutable": True}).get("immutable") and s.works(),
        ("Secret mounted-made-immutable (made immutable)",),
    ),
}
USER_HANDS: dict[str, Hand] = {
    "deleted": Hand(
        lambda s: s.hands.delete_user(s.subject),
        lambda s: (
            s.account("email") == f"{s.name}@example.org" and s.groups_and_roles() == ({"/sites/a"}, {"fl-member"})
        ),
        ("the user (deleted)",),
    ),
    "group-joined": Hand(
        lambda s: s.hands.put_in_group(s.subject, "/sites/b"),
        lambda s: s.groups_and_roles()[0] == {"/sites/a"},
        ("groups joined (/sites/b)",),
    ),
    "group-left": Hand(
        lambda s: s.hands.put_in_group(s.subject, "/sites/a", method="DELETE"),
        lambda s: s.groups_and_roles()[0] == {"/sites/a"},
        ("groups left (/sites/a)",),
    ),
    "role-added": Hand(
        lambda s: s.hands.map_role(s.subject, "fl-admin"),
        lambda s: s.groups_and_roles()[1] == {"fl-member"},
        ("roles added (fl-admin)",),
    ),
    "role-removed": Hand(
        lambda s: s.hands.map_role(s.subject, "fl-member", method="DELETE"),
        lambda s: s.groups_and_roles()[1] == {"fl-member"},
        ("roles removed (fl-member)",),
    ),
    "names-changed": Hand(
        lambda s: s.hands.change_user(s.subject, firstName="Eve", lastName="", email=f"eve-{s.name}@example.org"),
        lambda s: (
            (s.account("firstName"), s.account("lastName"), s.account("email"))
            == ("Ana", "Novak", f"{s.name}@example.org")
        ),
        ("firstName", "lastName", "email"),
    ),
    "disabled": Hand(
        lambda s: s.hands.change_user(s.subject, enabled=False), lambda s: s.account("enabled") is True, ("enabled",)
    ),
}
