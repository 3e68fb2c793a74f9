"""One pass over a PodIdentity: what its pods mount is what they need now, or is empty."""

from __future__ import annotations

from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of, rfc3339
from fedid.domain.pod_identity import SERVER, parse_pod_identity
from fedid.domain.resources import Body, meta_of
from fedid.engine import Outcome, Priority
from fedid.errors import BackendUnavailableError, Error, InvalidSpecError, StaleObjectError
from fedid.platforms.table import renderer
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.client_identity import ClientIdentities
from fedid.reconcile.copied_entries import farewell
from fedid.reconcile.gate import realm_now
from fedid.reconcile.members import has_members, members_key
from fedid.reconcile.nudges import Nudges
from fedid.reconcile.pod_node import PodNodes
from fedid.reconcile.server_client import about_client
from fedid.reconcile.server_identity import ServerIdentities
from fedid.reconcile.status import kept_conditions, newest_of, ready_at_generation, write_status
from fedid.reconcile.waiting import waited_for
from fedid.reconcile.world import World

__all__ = ["PodIdentityReconciler"]

_PASSING = (Reason.WAITING_FOR_BOT, Reason.WAITING_FOR_VERIFIERS)


class PodIdentityReconciler:
    """Reconciles PodIdentities."""

    def __init__(self, world: World, nudges: Nudges, acceptance: Acceptance) -> None:
        """Work in this world; pods are told by `nudges`."""
        self._world = world
        self._nodes = PodNodes(world)
        self._clients = ClientIdentities(world, nudges, acceptance, self._nodes)
        self._servers = ServerIdentities(world, nudges, acceptance)

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass.

        Raises:
            Error: What went wrong; the status tells it already.
        """
        meta = meta_of(body)
        if has_members(body):  # whose pass waits for nothing that this one waits for
            self._world.wake(members_key(meta.key), Priority.CHANGE, look=False)
        if meta.deleting:
            return await self._end(body)  # the Secret goes with its owner
        try:
            spec = parse_pod_identity(body)
            render = renderer(spec.platform, spec.options, spec.role)
            kind = self._servers if spec.role == SERVER else self._clients
            return await kind.make_true(body, spec, render)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await self._tell(newest_of(self._world, body), error, meta.generation)
            raise

    async def _end(self, body: Body) -> Outcome:
        if (body.get("spec") or {}).get("role") == SERVER:
            return await self._servers.end(body)
        await farewell(self._world, await self._nodes.ends.delete(body))
        return Outcome()

    async def _tell(self, body: Body, error: Error, generation: int) -> None:
        """Tell what went wrong, unless what is mounted is still good and only a backend is away."""
        status = body.get("status") or {}
        if (status.get("revocation") or {}).get("waitingFor") == waited_for(error):
            return  # what the end of its SuperNode waits for is told already
        passing = isinstance(error, BackendUnavailableError) or error.reason in _PASSING
        now = rfc3339(realm_now(self._world, self._bot(body)))
        server = (body.get("spec") or {}).get("role") == SERVER
        # A server that lacks a grant is not Ready, and mounts all the same what is granted.
        in_order = server and status.get("delivered") and status.get("observedGeneration") == generation
        good = in_order or ready_at_generation(body)
        if passing and good and status.get("tokenExpiresAt", now + "~") > now:
            return
        reason = reason_of(error)
        told = [Condition(ConditionType.READY, False, reason, error.message)]
        told.append(Condition(ConditionType.PUBLISHED, False, reason, error.message))
        told += about_client(body, error) if server else kept_conditions(body, (ConditionType.REVOKED,))
        await write_status(self._world, body, told, {}, generation=generation)

    def _bot(self, body: Body) -> Body | None:
        try:
            bot = parse_pod_identity(body).bot
        except InvalidSpecError:
            return None
        return self._world.directory.get(bot) if bot is not None else None
