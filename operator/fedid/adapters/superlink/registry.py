"""The Control API's calls about nodes.

Source: flwr 1.41 `supercore/protobuf/client.py`, `superlink/routers/control/router.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar

from fedid.adapters.answer import Answer
from fedid.adapters.superlink.messages import listed_nodes, register_request, registered_node, unregister_request
from fedid.adapters.superlink.refusals import KEY_IN_USE, NODE_NOT_FOUND, error_code, refusal, unexpected
from fedid.adapters.superlink.wire import MalformedMessageError
from fedid.adapters.transport import Transport
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeRecord

__all__ = ["SuperLinkRegistry"]

T = TypeVar("T")
_MEDIA_TYPE: Final = "application/protobuf"


class SuperLinkRegistry:
    """The nodes of one SuperLink."""

    def __init__(self, transport: Transport) -> None:
        """Ask over this transport; connects to nothing yet."""
        self._transport = transport

    async def register(self, public_key: bytes, name: str, account: Sensitive | None = None) -> int | None:
        """Register a key; None if it is in use, or was."""
        answer = await self._call("register-node", register_request(public_key, name), account)
        if answer.status == HTTPStatus.PRECONDITION_FAILED and error_code(answer) == KEY_IN_USE:
            return None
        return _read(_accepted(answer, account), registered_node)

    async def nodes(self, account: Sensitive | None = None) -> tuple[NodeRecord, ...]:
        """Return all nodes of the account, unregistered ones too."""
        answer = await self._call("list-nodes", b"", account, reads=True)
        return _read(_accepted(answer, account), listed_nodes)

    async def unregister(self, node_id: int, account: Sensitive | None = None) -> None:
        """End a node; success if it is not there, or not the account's."""
        answer = await self._call("unregister-node", unregister_request(node_id), account)
        if answer.status == HTTPStatus.NOT_FOUND and error_code(answer) == NODE_NOT_FOUND:
            return
        _accepted(answer, account)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _call(self, call: str, message: bytes, account: Sensitive | None, *, reads: bool = False) -> Answer:
        headers = {"Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE}
        if account is not None:
            headers["Authorization"] = f"Bearer {account.reveal()}"
        return await self._transport.request("POST", f"/v1/control/{call}", headers=headers, body=message, reads=reads)


def _accepted(answer: Answer, account: Sensitive | None) -> Answer:
    if answer.status != HTTPStatus.OK:
        raise refusal(answer, with_account=account is not None)
    if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
        raise unexpected(answer)
    return answer


def _read(answer: Answer, read: Callable[[bytes], T]) -> T:
    try:
        return read(answer.body)
    except MalformedMessageError as error:
        raise unexpected(answer) from error
