"""The adapters of a simulated process: each call passes its limiter, breaker and fence, then the network, to a fake.

They have the constructors of the adapters whose places they take in the composition root, so that it wires them as it
wires those. `RemoteTransport` keeps to the order of `fedid.adapters.transport`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from fedid.adapters.answer import Call
from fedid.adapters.keycloak.server_clock import ServerClock
from fedid.engine import AdaptiveLimiter, Breaker, BreakerOpenError, LeaseRecord
from fedid.errors import BackendUnavailableError, Error
from tests.fakes.identity_provider import FakeIdentityProvider
from tests.simulation.network import CLUSTER, NoAnswerError, Request, unavailable
from tests.simulation.scene import this_site
from tests.simulation.timeline import this_machine

_OWN_TOKEN_SECONDS = 50.0
"""How long the operator goes on with a token of its own; each new one tells Keycloak's clock."""


class RemoteTransport:
    """The way of one process to one server."""

    def __init__(  # noqa: PLR0913 - those of `Transport` that the composition root gives
        self,
        backend: str,
        base_url: str = "",
        *,
        ca_bundle: str | None = None,
        connections: int = 32,
        limiter: AdaptiveLimiter | None = None,
        breaker: Breaker | None = None,
        fence: Callable[[], None] | None = None,
        on_call: Callable[[Call], None] | None = None,
        replica: str | None = None,
    ) -> None:
        """Prepare as `Transport` does."""
        del base_url, ca_bundle, connections, replica
        self.backend = backend
        self._limiter, self._breaker, self._fence, self._on_call = limiter, breaker, fence, on_call
        self._closed = False

    async def call(
        self,
        operation: str,
        target: str,
        effect: Callable[[], Coroutine[Any, Any, Any]],
        *,
        reads: bool = False,
        probing: bool = False,
    ) -> Any:
        """Have the server do something, and return what it says.

        Raises:
            BackendUnavailableError: No answer, or the breaker is open, or this replica may not write.
            Error: What the server said.
        """
        if self._closed:
            message = f"the connections to {self.backend} are closed"
            raise BackendUnavailableError(message, backend=self.backend)
        async with self._limiter.slot() if self._limiter is not None else nullcontext(0.0) as slot_at:
            if self._breaker is not None and not probing:
                self._check(self._breaker)
            if self._fence is not None and not reads:
                self._fence()
            machine = this_machine()
            request = Request(machine, self.backend, operation, target, not reads, machine.timeline.now)
            try:
                result = await this_site().network.call(request, effect)
            except NoAnswerError as error:
                self._note(error.failure, slot_at)
                raise unavailable(self.backend, error, writes=not reads) from None
            except Error:
                self._note(None, slot_at)
                raise
            self._note(None, slot_at)
            return result

    async def aclose(self) -> None:
        """Let no request follow."""
        self._closed = True

    def _check(self, breaker: Breaker) -> None:
        try:
            breaker.check()
        except BreakerOpenError as error:
            pause = timedelta(seconds=error.retry_after_seconds)
            message = f"{self.backend} did not answer several times"
            raise BackendUnavailableError(message, backend=self.backend, retry_after=pause) from error

    def _note(self, failure: str | None, slot_at: float) -> None:
        if self._on_call is not None:
            self._on_call(Call(self.backend, "ANY", 200 if failure is None else None, failure, 0.0))
        if failure is None:
            if self._limiter is not None:
                self._limiter.succeeded()
            if self._breaker is not None:
                self._breaker.succeeded()
            return
        if self._breaker is not None:
            self._breaker.failed()
        if self._limiter is not None and failure == "timeout":
            self._limiter.overloaded(slot_at)


class _Remote:
    """Hands each call of a port to a fake on the other side of the network."""

    reads: ClassVar[tuple[str, ...]]
    """How the names of methods begin that change nothing."""
    at_hand: ClassVar[frozenset[str]] = frozenset()
    """Methods that ask nobody, or a cache."""

    def __init__(self, transport: RemoteTransport, fake: Any) -> None:
        self._transport, self._fake = transport, fake

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._fake, name)
        if not callable(method) or name in self.at_hand:
            return method
        reads = name.startswith(self.reads)

        async def call(*args: Any, **kwargs: Any) -> Any:
            target = "/".join(one for one in args if isinstance(one, str))
            return await self._ask(name, target, lambda: method(*args, **kwargs), reads=reads)

        setattr(self, name, call)
        return call

    async def _ask(self, name: str, target: str, effect: Callable[[], Coroutine[Any, Any, Any]], *, reads: bool) -> Any:
        probing = name == "probe"
        return await self._transport.call(name, target, effect, reads=reads or probing, probing=probing)

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


class RemoteRealm(_Remote):
    """In the place of `KeycloakRealm`."""

    reads = (
        *("read_", "find_", "clients_", "users_", "all_", "role_", "group_", "admin_", "user_", "linked_"),
        *("service_account_id", "token_accepted"),
    )
    at_hand = frozenset(
        {"verify", "user_rules", "realm_scopes", "secret_policy", "realm_roles", "client_roles", "group_ids"}
        | {"roles_with_role", "roles_with_group", "forget_brought_roles", "_brought"}
    )

    def __init__(self, transport: RemoteTransport, _realm: str, _issuer_url: str, _credentials: object) -> None:
        """Look at the realm of this site."""
        super().__init__(transport, FakeIdentityProvider(this_site().servers.realm))
        self._machine = this_machine()
        self._clock = ServerClock(monotonic=self._machine.boot_time)
        self._own_token_at = float("-inf")

    def server_now(self) -> datetime:
        """Return a lower bound of Keycloak's clock, as far as its tokens told."""
        return self._clock.at_least()

    def server_now_at_most(self) -> datetime:
        """Return an upper bound of it."""
        return self._clock.at_most()

    async def _ask(self, name: str, target: str, effect: Callable[[], Coroutine[Any, Any, Any]], *, reads: bool) -> Any:
        sent = self._machine.boot_time()
        issued_at: list[datetime] = []

        def at_server() -> Coroutine[Any, Any, Any]:
            issued_at.append(self._fake.server_now())
            return effect()

        result = await super()._ask(name, target, at_server, reads=reads)
        if name == "mint" or sent - self._own_token_at > _OWN_TOKEN_SECONDS:
            self._own_token_at = sent
            self._clock.saw(issued_at[0], sent=sent, received=self._machine.boot_time())
        return result


class RemoteStore(_Remote):
    """In the place of `VaultSecretStore`."""

    reads = ("read", "names")

    def __init__(self, transport: RemoteTransport, *, mount: str, kv_version: int, login: object) -> None:
        """Look at the mount of this site."""
        del mount, kv_version, login
        super().__init__(transport, this_site().servers.store)

    def at(self, _mount: str) -> RemoteStore:
        """Return this mount: the site has no other."""
        return self


class RemoteSuperLink(_Remote):
    """In the place of `SuperLinkRegistry`."""

    reads = ("nodes",)

    def __init__(self, transport: RemoteTransport) -> None:
        """Look at the SuperLink of this site."""
        super().__init__(transport, this_site().servers.super_link)


class RemoteCluster(_Remote):
    """In the place of `KubernetesCluster`."""

    reads = ("listing", "read", "pods", "workload_of", "installation_id", "emit")

    def __init__(
        self, _access: object, _clock: object, *, fence: Callable[[], None], on_call: Callable[[Call], None]
    ) -> None:
        """Look at the cluster of this site."""
        transport = RemoteTransport(CLUSTER, fence=fence, on_call=on_call)
        super().__init__(transport, this_site().servers.cluster)

    async def emit(self, body: Any, **told: Any) -> None:
        """Tell an Event, which may get lost."""
        try:
            await self._transport.call("emit", "", lambda: self._fake.emit(body, **told), reads=True)
        except BackendUnavailableError:
            return


class RemoteLease:
    """In the place of `KubernetesLease`."""

    def __init__(self, _access: object, _clock: object, *, on_call: Callable[[Call], None]) -> None:
        """Look at the Lease of this site."""
        self._transport = RemoteTransport(CLUSTER, on_call=on_call)

    async def read(self) -> LeaseRecord | None:
        """Return the Lease."""
        cluster = this_site().servers.cluster
        record: LeaseRecord | None = await self._transport.call("read_lease", "", cluster.read_lease, reads=True)
        return record

    async def write(self, holder: str, duration_seconds: float, over: LeaseRecord | None) -> LeaseRecord | None:
        """Write it over that record."""
        cluster = this_site().servers.cluster
        record: LeaseRecord | None = await self._transport.call(
            "write_lease", "", lambda: cluster.write_lease(holder, duration_seconds, over), reads=True
        )
        return record

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


@dataclass(frozen=True, slots=True)
class Access:
    """In the place of `ClusterAccess`."""

    namespace: str = "fedid-system"

    async def aclose(self) -> None:
        """Do nothing."""
