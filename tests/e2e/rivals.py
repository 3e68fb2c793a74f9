"""Things that somebody else made under names that objects of ours will want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.hands import OBJECT, OWNER, Hands
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique, user

ELSEWHERE = "another-installation/00000000-0000-0000-0000-000000000001"
"""The owner mark of an installation that is not ours."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Somebody else's thing, and the object of ours that would need its name."""

    manifest: Body
    owner: str
    """What the condition must say of the owner."""
    step: str
    """What the condition must tell to do."""
    as_it_stands: Callable[[], str]
    remove: Callable[[], None]

    @property
    def kind(self) -> str:
        """Kind of our object."""
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """Name of our object."""
        return str(self.manifest["metadata"]["name"])


def _client(tenant: Tenant, hands: Hands, name: str, **attributes: str) -> Rival:
    uuid = hands.make_client(
        f"{tenant.namespace}.{name}", secret="kept-by-a-stranger", serviceAccountsEnabled=True, attributes=attributes
    )
    owner = f"owner mark {ELSEWHERE} (BotClient/elsewhere/other)" if attributes else "carries no owner mark of fedid"
    return Rival(
        bot(name),
        owner,
        "have its owner delete the client",
        lambda: hands.client_as_it_stands(uuid),
        lambda: hands.delete_client(uuid),
    )


def _user(hands: Hands, *, email: bool) -> Rival:
    taken, name = unique("taken"), unique("ana")
    user_id = hands.make_user(taken, email=f"{taken}@example.org", firstName="Somebody", lastName="Else")
    manifest = user(name, email=f"{taken}@example.org") if email else user(name, username=taken)
    owner = "belongs to another user" if email else "carries no owner mark of fedid"
    step = "spec.email" if email else "spec.username"
    return Rival(manifest, owner, step, lambda: hands.user_as_it_stands(user_id), lambda: hands.delete_user(user_id))


def _entry(tenant: Tenant, hands: Hands, name: str, entry: str = "client", **where: str | None) -> Rival:
    mount, owner, reference = where.get("mount") or "secret", where.get("owner"), where.get("federation")
    path = f"fedid/{tenant.namespace}/bots/{name}/{entry}"
    hands.write(path, {"client_secret": "kept-by-a-stranger", "token": "kept-by-a-stranger"}, owner=owner, mount=mount)
    return Rival(
        bot(name, **({"federationRef": {"name": reference}} if reference else {})),
        str(owner or "not made by fedid"),
        path,
        lambda: hands.entry_as_it_stands(path, mount=mount),
        lambda: hands.delete_entry(path, mount=mount),
    )


def _secret(tenant: Tenant, hands: Hands) -> Rival:
    tenant.apply(bot("mounted"))
    hands.make_secret(tenant.namespace, "theirs", token="kept-by-a-stranger")
    return Rival(
        pod_identity("mounted", secretName="theirs"),
        "was not made by fedid",
        "spec.secretName",
        lambda: hands.secret_as_it_stands(tenant.namespace, "theirs"),
        lambda: hands.delete_secret(tenant.namespace, "theirs"),
    )


def rivals_of(tenant: Tenant, hands: Hands, first_version: str) -> list[Rival]:
    """Make one of each kind of stranger's things.

    Args:
        tenant: Where our objects will be.
        hands: The stranger's.
        first_version: A Federation over a mount of KV version 1.
    """
    return [
        _client(tenant, hands, "client-by-hand"),
        _client(tenant, hands, "client-of-another", **{OWNER: ELSEWHERE, OBJECT: "BotClient/elsewhere/other"}),
        _user(hands, email=False),
        _user(hands, email=True),
        _entry(tenant, hands, "path-by-hand"),
        _entry(tenant, hands, "path-of-another", owner=ELSEWHERE),
        _entry(tenant, hands, "token-by-hand", "tokens/default"),
        _entry(tenant, hands, "v1-by-hand", mount="secrets", federation=first_version),
        _entry(tenant, hands, "v1-of-another", mount="secrets", federation=first_version, owner=ELSEWHERE),
        _secret(tenant, hands),
    ]
