"""Where a PodIdentity's SuperNode is registered, and as whom its SuperLink is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedid.domain.conditions import Reason
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity, parse_pod_identity
from fedid.domain.resources import Body, meta_of, parse_bot_client
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import SuperLinkAccess
from fedid.errors import InvalidSpecError, NotReadyError
from fedid.platforms import flower
from fedid.platforms.flower import SuperNodeOptions
from fedid.ports import NodeRegistry
from fedid.reconcile.bot_observation import observe_stored
from fedid.reconcile.super_node import NodeIdentity, node_path
from fedid.reconcile.world import Backends, World

__all__ = [
    "NodeAccount",
    "account_at_the_end",
    "account_of",
    "bot_of",
    "node_identity",
    "options_if_readable",
    "options_of",
    "told_of",
]

_MOST_SUPER_LINKS: Final = 64
"""Whose connections are kept; each has a pool and a TLS context of its own."""


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """The account of a bot at a SuperLink."""

    token: Sensitive
    """Access token that is presented there."""
    subject: str
    """`sub` of the token. A bot that is made anew has another, which sees nothing of the former one's nodes."""


def told_of(body: Body) -> Mapping[str, Any]:
    """Return what the status of a PodIdentity tells of its SuperNode; empty if there is none."""
    return (body.get("status") or {}).get("superNode") or {}


def options_of(spec: PodIdentity) -> SuperNodeOptions | None:
    """Return what is asked of the SuperNode, None if the PodIdentity is none."""
    if spec.platform != "flower":
        return None
    return flower.parse(spec.options, f"spec.platform.{spec.platform}", spec.role).super_node


def options_if_readable(body: Body) -> SuperNodeOptions | None:
    """Return the same, None also if the spec makes no sense."""
    try:
        return options_of(parse_pod_identity(body))
    except InvalidSpecError:
        return None


def bot_of(world: World, body: Body) -> tuple[ObjectKey | None, Body | None]:
    """Return the bot of a PodIdentity by name, and as it is now; None for what is not there."""
    try:
        key = parse_pod_identity(body).bot
    except InvalidSpecError:
        return None, None
    return key, world.directory.get(key) if key is not None else None


async def node_identity(
    world: World, body: Body, access: SuperLinkAccess, backends: Backends, account: Sensitive | None
) -> NodeIdentity:
    """Return the node of a PodIdentity at a SuperLink, which is asked with this token."""
    meta = meta_of(body)
    path = node_path(backends.federation.vault.path_prefix, meta.key)
    registry = await _registry(world, access)
    return NodeIdentity(meta.key, meta.uid, access.url, registry, backends.secret_store, path, account)


async def _registry(world: World, access: SuperLinkAccess) -> NodeRegistry:
    known = world.super_links
    found = known.pop(access, None) or world.factory.node_registry(access)
    known[access] = found  # the last one is the one that was used last
    while len(known) > _MOST_SUPER_LINKS:
        await known.pop(next(iter(known))).aclose()
    return found


async def account_of(world: World, bot: Body, backends: Backends) -> NodeAccount:
    """Return the account of a bot, by the token that is named `default`, else by the only one.

    Raises:
        NotReadyError: The token is not there yet.
        InvalidSpecError: The bot has no such token.
    """
    meta, spec = meta_of(bot), parse_bot_client(bot)
    declared = [token["name"] for token in (bot.get("spec") or {}).get("tokens") or ()]
    name = "default" if "default" in declared else declared[0] if len(declared) == 1 else None
    if name is None:
        message = f"superLink.account is Bot, and {meta.key} has no token that is called default or is the only one"
        raise InvalidSpecError(message, reason=Reason.TOKEN_MISSING)
    owner = world.owner(meta.uid)
    stored = await observe_stored(backends, meta.key, owner, spec.client_id, spec.authentication)
    if name not in stored.claims:
        message = f"Token {name} of {meta.key}, with which the SuperLink is asked, is not in Vault as a good jwt"
        raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
    return NodeAccount(stored.tokens[name].data["token"], stored.claims[name].subject)


async def account_at_the_end(
    world: World, bot: Body | None, backends: Backends, subject: str | None
) -> Sensitive | None:
    """Return the token of the account that owns a node, None if nobody has one any more.

    What another account is shown says nothing about that node. Without a token the SuperLink says what it wants.

    Args:
        world: Collaborators.
        bot: As it is now.
        backends: Of its Federation.
        subject: Of the account, as the status tells it.

    Raises:
        NotReadyError: The account is there, and its token is not, at the moment.
        InvalidSpecError: Likewise, as long as the bot's spec names none.
    """
    try:
        account = await account_of(world, bot, backends) if bot is not None else None
    except (InvalidSpecError, NotReadyError):
        status = (bot.get("status") or {}) if bot is not None else {}
        if subject is not None and status.get("serviceAccountSubject") == subject:
            raise
        return None
    return account.token if account is not None and subject in {None, account.subject} else None
