"""The Keycloak client of a server as a part of its PodIdentity: made with it, mounted by it, ended with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, reason_of
from fedid.domain.naming import ObjectKey
from fedid.domain.oidc_client import OidcClientSpec, default_server_id, parse_oidc_client
from fedid.domain.pod_identity import PodIdentity
from fedid.domain.resources import Body, meta_of
from fedid.engine import Outcome, Priority
from fedid.errors import (
    BackendError,
    BackendUnavailableError,
    Error,
    NotGrantedError,
    OwnershipConflictError,
    StaleObjectError,
)
from fedid.platforms.identity import OidcClient
from fedid.platforms.table import client_needs
from fedid.reconcile.gate import backends_of, federation_of
from fedid.reconcile.oidc_client import BroughtClient, OidcClients
from fedid.reconcile.oidc_client_teardown import anything_made
from fedid.reconcile.status import kept_conditions, newest_of
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["ServerClient", "ServerClients", "about_client", "parse_client"]

_PARTS = (ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED, ConditionType.REVOKED)
_SOON_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ServerClient:
    """What is known of a server's client once Keycloak and Vault were brought in line, as far as they let us."""

    client: OidcClient | None
    """None: the server has none."""
    conditions: tuple[Condition, ...] = ()
    """To be told beside those about the Secret."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of the status."""
    denied: str = ""
    """What is not granted, if the rest goes on."""
    again_at: float | None = None
    """Monotonic seconds."""
    trouble: Error | None = None
    """Keycloak is away; what was published before is still good."""


class ServerClients:
    """Brings the clients of servers in line, and ends them."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._clients = OidcClients(world)

    async def refused(self, body: Body, spec: PodIdentity, backends: Backends) -> bool:
        """Tell whether nothing of a client that the server wants is granted, so that nobody may mount it.

        Raises:
            InvalidSpecError: `spec.oidcClient` means nothing.
        """
        wanted = parse_client(body, spec)
        return wanted is not None and await self._clients.refused(body, wanted, backends)

    async def bring_in_line(self, body: Body, spec: PodIdentity, backends: Backends) -> ServerClient:
        """Make the client as it is wanted, or end one that is wanted no more.

        Raises:
            NotGrantedError: Nothing of it is granted.
            Error: It cannot be made, and there is none of before that could go on.
        """
        wanted = parse_client(body, spec)
        if wanted is None:
            return await self._without(body, spec, backends)
        try:
            return _in_line(await self._clients.bring_in_line(body, wanted, backends))
        except BackendUnavailableError as error:
            newest = newest_of(self._world, body)
            published = await self._clients.published(newest, wanted, backends)
            if published is None:
                raise
            # What was published is still good: an outage changes no status.
            kept = tuple(kept_conditions(newest, _PARTS))
            denied = (one.message for one in kept if one.type is ConditionType.GRANTED and one.status is False)
            return ServerClient(published, kept, denied=next(denied, ""), trouble=error)

    async def _without(self, body: Body, spec: PodIdentity, backends: Backends) -> ServerClient:
        """End a client that the manifest does not ask for any more; the object stays."""
        if not anything_made(body):
            return ServerClient(None)
        meta = spec.meta
        finished = await self._clients.teardown.delete(body, default_server_id(meta.key), backends)
        kept = tuple(kept_conditions(newest_of(self._world, body), (ConditionType.REVOKED,)))
        if not finished:
            return ServerClient(None, kept, again_at=self._world.clock.monotonic() + _SOON_SECONDS)
        return ServerClient(None, kept, {"oidcClient": None, "revocation": None})

    async def end(self, body: Body) -> Outcome:
        """Run one pass over a server that is being deleted.

        Raises:
            Error: A backend does not let us finish; the condition `Revoked` says which step waits for what.
        """
        meta, status = meta_of(body), body.get("status") or {}
        if not meta.has_finalizer:
            return Outcome()
        try:
            backends = backends_of(self._world, status.get("federation") or federation_of(self._world, body))
            if backends is None:
                return Outcome()  # the Federation is looked at first, and wakes this object
            finished = await self._clients.teardown.delete(body, _client_id(body, meta.key), backends)
        except StaleObjectError:
            raise
        except Error as error:
            await tell_waiting(self._world, newest_of(self._world, body), error)
            raise
        return Outcome() if finished else Outcome(self._world.clock.monotonic() + _SOON_SECONDS, Priority.DELETION)


def parse_client(body: Body, spec: PodIdentity) -> OidcClientSpec | None:
    """Return the client that a server wants, None if it wants none.

    Raises:
        InvalidSpecError: A field means nothing; the message names it.
    """
    return parse_oidc_client(body["spec"], spec.meta.key, client_needs(spec.platform, spec.options))


def about_client(body: Body, error: Error) -> list[Condition]:
    """Return the conditions about a server's client, as they are to be told beside an error."""
    about = None
    if isinstance(error, NotGrantedError):
        about = Condition(ConditionType.GRANTED, False, reason_of(error), error.message)
    elif isinstance(error, BackendError | OwnershipConflictError) and error.backend == "keycloak":
        about = Condition(ConditionType.KEYCLOAK_SYNCED, False, reason_of(error), error.message)
    kept = kept_conditions(body, _PARTS, but=about.type if about is not None else None)
    return [*kept, *([about] if about is not None else [])]


def _in_line(brought: BroughtClient) -> ServerClient:
    return ServerClient(
        brought.client,
        brought.conditions,
        brought.fields,
        denied="" if brought.granted else brought.conditions[0].message,
        again_at=brought.again_at,
    )


def _client_id(body: Body, key: ObjectKey) -> str:
    block = (body.get("spec") or {}).get("oidcClient") or {}
    return str(block.get("clientId") or default_server_id(key))
