"""Questions about the cluster itself: what it serves, and what we may do in it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fedid.adapters.kubernetes.addresses import OURS, Address
from fedid.adapters.kubernetes.api import Api, ClusterTransport
from fedid.adapters.kubernetes.failures import BACKEND
from fedid.errors import BackendRejectedError

if TYPE_CHECKING:
    from fedid.adapters.kubernetes.access import ClusterAccess
    from fedid.adapters.kubernetes.rights import Right

_REVIEWS: Final = Address("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews")


class Inspection:
    """What every ServiceAccount may ask, without a role of its own (`system:discovery`, `system:basic-user`)."""

    def __init__(self, access: ClusterAccess) -> None:
        """Prepare; nothing is sent before the first question."""
        self._transport = ClusterTransport(access)
        self._api = Api(self._transport)

    async def served(self) -> frozenset[str]:
        """Return the resources that the API server serves in our group and version, subresources included.

        Raises:
            BackendUnavailableError: No answer, 429 or 5xx.
            BackendRejectedError: It does not let us ask.
        """
        answer = await self._transport.request("GET", OURS)
        if answer.status == HTTPStatus.NOT_FOUND:
            return frozenset()
        if answer.status != HTTPStatus.OK:
            message = f"the API server answers {answer.status} to what it serves of {OURS}: check the ServiceAccount"
            raise BackendRejectedError(message, backend=BACKEND)
        return frozenset(resource["name"] for resource in answer.json()["resources"])

    async def may(self, right: Right) -> bool:
        """Tell whether the API server would let us.

        Raises:
            Error: It does not answer, or refuses the question.
        """
        resource, _, subresource = right.resource.partition("/")
        attributes = {
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": right.namespace,
            "name": right.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        reply = await self._api.send("create", _REVIEWS, review)
        return bool(reply.result()["status"]["allowed"])

    async def aclose(self) -> None:
        """Close our session; the pool stays."""
        await self._api.aclose()
