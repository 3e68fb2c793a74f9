"""Requests to the API server: verbs on addresses, answered by a status and a body."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fedid.adapters.kubernetes.failures import refusal
from fedid.adapters.transport import Transport
from fedid.errors import BackendRejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import aiohttp

    from fedid.adapters.answer import Answer, Call
    from fedid.adapters.kubernetes.access import ClusterAccess
    from fedid.adapters.kubernetes.addresses import Address
    from fedid.adapters.transport import Limiter

METHODS: Final = {"get": "GET", "list": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
"""RBAC's verb to HTTP's method."""
MERGE_PATCH: Final = "application/merge-patch+json"


class ClusterTransport(Transport):
    """A transport that opens no pool of its own: it uses the one that kopf uses too."""

    def __init__(
        self,
        access: ClusterAccess,
        *,
        limiter: Limiter | None = None,
        fence: Callable[[], None] | None = None,
        on_call: Callable[[Call], None] | None = None,
    ) -> None:
        """Prepare; arguments as for `Transport`."""
        super().__init__("kubernetes", access.server, limiter=limiter, fence=fence, on_call=on_call)
        self._access = access

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None and not self._closed:
            self._session = self._access.open_session()
            # As in Transport: aiohttp must not repeat a PUT or DELETE by itself.
            self._session._retry_connection = False  # noqa: SLF001 - the only switch that aiohttp 3.14 has
        return super()._open()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of 2xx or 4xx, and what was asked."""

    verb: str
    """RBAC's."""
    address: Address
    status: int
    body: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return self.status < HTTPStatus.BAD_REQUEST

    @property
    def absent(self) -> bool:
        """Whether there is no such object."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def taken(self) -> bool:
        """Whether an object of that name exists; other 409s to a create are passing (a quota's own counter)."""
        return self.status == HTTPStatus.CONFLICT and self.body.get("reason") == "AlreadyExists"

    @property
    def conflicting(self) -> bool:
        """Whether a precondition (uid, resourceVersion) does not hold.

        A foreign uid is a 409 for a Secret, and a 422 about `metadata.uid` for a custom resource.
        """
        if self.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return any(cause.get("field") == "metadata.uid" for cause in self.causes)
        return self.status == HTTPStatus.CONFLICT

    @property
    def expired(self) -> bool:
        """Whether the rest of a listing can no longer be had."""
        return self.status == HTTPStatus.GONE

    @property
    def causes(self) -> tuple[Mapping[str, Any], ...]:
        """What the API server objects to, one by one."""
        return tuple((self.body.get("details") or {}).get("causes") or ())

    @property
    def message(self) -> str:
        """The API server's own sentence; may hold a part of what was sent."""
        return str(self.body.get("message", ""))

    def result(self) -> Mapping[str, Any]:
        """Return the body of a good answer.

        Raises:
            BackendDeniedError: We lack a permission, or the namespace is being deleted.
            BackendRejectedError: Refused for another reason.
        """
        if not self.ok:
            raise refusal(self)
        return self.body


class Api:
    """The API server, seen as the operator."""

    def __init__(self, transport: Transport) -> None:
        """Send through the transport."""
        self._transport = transport

    async def send(
        self,
        verb: str,
        address: Address,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request; a refusal comes back as it is.

        Args:
            verb: RBAC's (`get`, `list`, `create`, `update`, `patch`, `delete`).
            address: What it is about.
            body: An object, a merge patch or DeleteOptions.
            params: The query.

        Raises:
            BackendUnavailableError: No answer, 429 or 5xx.
            BackendRejectedError: The server does not know the resource.
        """
        answer = await self._transport.request(
            METHODS[verb],
            address.path,
            headers={"Content-Type": MERGE_PATCH} if verb == "patch" else None,
            params=params,
            json=body,
        )
        return Reply(verb, address, answer.status, _decoded(answer, address))

    async def aclose(self) -> None:
        """Close our session; the pool stays."""
        await self._transport.aclose()


def _decoded(answer: Answer, address: Address) -> Mapping[str, Any]:
    if answer.status == HTTPStatus.NOT_FOUND and not answer.body.lstrip().startswith(b"{"):
        # Plain text: the path itself is unknown. Taken for "no such object" it would look as if all were deleted.
        message = f"the API server does not know {address.resource}: install the CRDs of this version (helm upgrade)"
        raise BackendRejectedError(message, backend="kubernetes")
    body = answer.json()
    return body if isinstance(body, dict) else {}
