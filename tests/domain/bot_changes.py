"""What may happen to a bot whose plan is tested: changes by hand, of its spec, of what is remembered, and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fedid.domain.bot_record import desired_client
from fedid.domain.bot_steps import MintToken
from fedid.domain.realm import ClientRecord
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import token_entry
from tests.domain.bot_model import BotWorld
from tests.domain.samples import NOW, OWNER, desired, roles_of, tokens_named

BOT = desired()
CLIENT = desired_client(BOT, secret=None)
ROLES = roles_of(BOT)
DEFAULT = "default"


def mint(why: str, name: str = DEFAULT) -> MintToken:
    """Expect a token to be minted for a reason."""
    return MintToken(name, why)


def nothing(_: BotWorld) -> None:
    """Change nothing."""


def client_of(world: BotWorld) -> ClientRecord:
    """Return the client, which is there."""
    assert world.client is not None
    return world.client


def change_client(**changes: Any) -> Callable[[BotWorld], None]:
    """Change fields of the client by hand."""

    def change(world: BotWorld) -> None:
        world.client = replace(client_of(world), **changes)

    return change


def change_stored_client(*, version: int = 1, **data: str) -> Callable[[BotWorld], None]:
    """Change keys of the bot secret's entry in Vault by hand; `version` more writes than the status knows."""

    def change(world: BotWorld) -> None:
        assert world.stored_client is not None
        changed = {**world.stored_client.data, **{key: Sensitive(value) for key, value in data.items()}}
        world.stored_client = StoredEntry(changed, world.stored_client.version + version, OWNER)

    return change


def change_stored_token(name: str = DEFAULT, **data: str) -> Callable[[BotWorld], None]:
    """Change keys of a token's entry in Vault by hand."""

    def change(world: BotWorld) -> None:
        entry = world.stored_tokens[name]
        changed = {**entry.data, **{key: Sensitive(value) for key, value in data.items()}}
        world.stored_tokens[name] = StoredEntry(changed, entry.version + 1, OWNER)

    return change


def put_token(**claims: Any) -> Callable[[BotWorld], None]:
    """Put another token of the realm into Vault, well-formed, with these claims."""

    def change(world: BotWorld) -> None:
        version = world.stored_tokens[DEFAULT].version + 1
        world.stored_tokens[DEFAULT] = StoredEntry(token_entry(world.mint(**claims)), version, OWNER)

    return change


def delete_client(world: BotWorld) -> None:
    """Delete the client by hand."""
    world.client, world.held = None, frozenset()


def empty_vault(world: BotWorld) -> None:
    """Delete everything in Vault by hand, marks included."""
    world.stored_client, world.stored_tokens = None, {}


def empty_versions(world: BotWorld) -> None:
    """Delete the newest versions in Vault by hand; marks stay."""
    world.stored_client = StoredEntry({}, 1, OWNER)
    world.stored_tokens = {DEFAULT: StoredEntry({}, 1, OWNER)}


def want(**changes: Any) -> Callable[[BotWorld], None]:
    """Change the spec."""

    def change(world: BotWorld) -> None:
        if "tokens" in changes:
            changes["tokens"] = tokens_named(changes["tokens"])
        world.desired = replace(world.desired, **changes)

    return change


def record(**changes: Any) -> Callable[[BotWorld], None]:
    """Change what the status remembers."""

    def change(world: BotWorld) -> None:
        world.recorded = replace(world.recorded, **changes)

    return change


def both(*changes: Callable[[BotWorld], None]) -> Callable[[BotWorld], None]:
    """Do several things."""

    def change(world: BotWorld) -> None:
        for one in changes:
            one(world)

    return change


def later(share: float) -> Callable[[BotWorld], None]:
    """Let a share of the token's life pass."""

    def change(world: BotWorld) -> None:
        world.now = NOW + share * world.desired.lifetime

    return change


ROLES_CHANGED = "roles, audiences, scopes, claims or lifetime changed"
