"""OpenFGA's HTTP API, as far as tuples go.

What a refusal means is told by its code; its message is a stranger's text and is not passed on.

Source: OpenFGA 1.22 `openfga/v1/openfga_service.proto`, `openfga/v1/errors_ignore.proto`; measured on 1.22.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fedid.adapters.answer import Answer
from fedid.adapters.transport import Transport, segment
from fedid.domain.conditions import Reason
from fedid.domain.openfga import RelationTuple
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError, BackendError, BackendRejectedError, BackendUnavailableError

__all__ = ["BACKEND", "OpenFgaStore"]

BACKEND: Final = "openfga"
_IN_STEP_ALREADY: Final = "write_failed_due_to_invalid_input"
"""To write what is there, or to delete what is not."""
_NO_STORE: Final = "store_id_not_found"
_NO_MODEL: Final = frozenset({"authorization_model_not_found", "latest_authorization_model_not_found"})
_NO_CACHE: Final = {"consistency": "HIGHER_CONSISTENCY"}
_PAGE: Final = 100
"""The most that a server gives at once."""


class OpenFgaStore:
    """One store."""

    def __init__(self, transport: Transport, store_id: str, model_id: str | None, key: Sensitive | None) -> None:
        """Ask over this transport; connects to nothing yet.

        Args:
            transport: To the server.
            store_id: Of the store.
            model_id: What tuples are written and checked by; None: the store's latest model.
            key: The preshared key; None: the server asks for none.
        """
        self._transport = transport
        self._store_id, self._model_id, self._key = store_id, model_id, key

    async def probe(self) -> str:
        """Look whether store and model are there."""
        name = await self._name()
        models = "/authorization-models"
        if self._model_id is not None:
            self._accepted(await self._call("GET", f"{models}/{segment(self._model_id)}", probing=True))
        elif not self._accepted(await self._call("GET", models, probing=True)).get("authorization_models"):
            raise self._no_model()
        return name

    async def users(self, object_: str, relation: str) -> frozenset[str]:
        """Return the users of all tuples with this object and relation."""
        found: set[str] = set()
        asked: dict[str, Any] = {"tuple_key": {"object": object_, "relation": relation}, "page_size": _PAGE}
        while True:
            answer = await self._call("POST", "/read", asked | _NO_CACHE, reads=True)
            page = self._accepted(answer)
            try:
                found.update(one["key"]["user"] for one in page["tuples"])
            except (KeyError, TypeError) as error:
                raise _unexpected(answer) from error
            if not (more := page.get("continuation_token")):
                return frozenset(found)
            asked["continuation_token"] = more

    async def write(self, wanted: RelationTuple) -> bool:
        """Write a tuple."""
        answer = await self._call("POST", "/write", {"writes": {"tuple_keys": [_key(wanted)]}, **self._model()})
        if answer.status == HTTPStatus.BAD_REQUEST and _code(answer) == _IN_STEP_ALREADY:
            return False
        if _code(answer) in _NO_MODEL:
            await self._name()  # a store that is not there has no model either, and that is said first
        self._accepted(answer)
        return True

    async def delete(self, unwanted: RelationTuple) -> None:
        """Delete a tuple."""
        # By no model: it may be gone, and what is to go must go all the same.
        answer = await self._call("POST", "/write", {"deletes": {"tuple_keys": [_key(unwanted)]}})
        if answer.status == HTTPStatus.BAD_REQUEST and _code(answer) == _IN_STEP_ALREADY:
            return
        if _code(answer) in _NO_MODEL:
            await self._name()
            return  # a store that never had a model never took a tuple
        self._accepted(answer)

    async def allowed(self, asked: RelationTuple) -> bool:
        """Ask for a decision."""
        question = {"tuple_key": _key(asked), **self._model(), **_NO_CACHE}
        return self._accepted(await self._call("POST", "/check", question, reads=True)).get("allowed") is True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _name(self) -> str:
        """Return the store's name.

        Raises:
            BackendRejectedError: It is not there (reason `StoreNotFound`).
        """
        return str(self._accepted(await self._call("GET", "", probing=True)).get("name", ""))

    def _model(self) -> dict[str, str]:
        return {} if self._model_id is None else {"authorization_model_id": self._model_id}

    async def _call(
        self, method: str, path: str, json: object = None, *, reads: bool = False, probing: bool = False
    ) -> Answer:
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key.reveal()}"}
        where = f"/stores/{segment(self._store_id)}{path}"
        return await self._transport.request(method, where, headers=headers, json=json, reads=reads, probing=probing)

    def _accepted(self, answer: Answer) -> Mapping[str, Any]:
        """Return what the server says; the one place where its refusals become errors.

        Raises:
            BackendError: It refuses.
        """
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise self._refusal(answer)
        told = answer.json()
        if not isinstance(told, dict):
            raise _unexpected(answer)
        return told

    def _refusal(self, answer: Answer) -> BackendError:
        code = _code(answer)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            how = "refuses our preshared key: correct" if self._key else "wants a preshared key: add"
            message = f"OpenFGA at {answer.origin} {how} the Secret of spec.openFga.auth.presharedKey"
            return BackendDeniedError(message, backend=BACKEND)
        if answer.status == HTTPStatus.CONFLICT:
            message = f"OpenFGA at {answer.origin} was changing the same tuple for somebody else; asking again"
            return BackendUnavailableError(message, backend=BACKEND)
        if code == _NO_STORE:
            message = f"OpenFGA at {answer.origin} has no store {self._store_id}; correct spec.openFga.storeId"
            return BackendRejectedError(message, backend=BACKEND, reason=Reason.STORE_NOT_FOUND)
        if code in _NO_MODEL:
            return self._no_model()
        if code is None or code == "undefined_endpoint":
            return _unexpected(answer)
        message = (
            f"OpenFGA at {answer.origin} refused ({answer.status}, {code}): the authorization model must have the type "
            "flwr_aid, and the object's type the relation, with flwr_aid as a directly related type"
        )
        return BackendRejectedError(message, backend=BACKEND)

    def _no_model(self) -> BackendRejectedError:
        where = f"Store {self._store_id} of OpenFGA at {self._transport.origin}"
        told = f"has no authorization model {self._model_id}" if self._model_id else "has no authorization model"
        message = f"{where} {told}; write one, or correct spec.openFga.modelId"
        return BackendRejectedError(message, backend=BACKEND, reason=Reason.MODEL_NOT_FOUND)


def _key(one: RelationTuple) -> dict[str, str]:
    return {"user": one.user, "relation": one.relation, "object": one.object}


def _code(answer: Answer) -> str | None:
    """Return OpenFGA's own code for a refusal, None if the answer is not OpenFGA's."""
    try:
        told = answer.json()
    except BackendRejectedError:
        return None
    code = told.get("code") if isinstance(told, dict) else None
    return code if isinstance(code, str) else None


def _unexpected(answer: Answer) -> BackendRejectedError:
    message = f"{answer.origin} answered {answer.status} in another form than OpenFGA does: check spec.openFga.url"
    return BackendRejectedError(message, backend=BACKEND, reason=Reason.UNEXPECTED_ANSWER)
