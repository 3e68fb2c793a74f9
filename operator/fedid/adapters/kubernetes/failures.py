"""What the API server refuses, as `fedid.errors`: the one place.

Its own sentence is passed on only where it cannot hold a credential: never about a Secret (an admission webhook may
quote what it was shown), and then only the names of fields, of a quota or of the webhook.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fedid.errors import BackendDeniedError, BackendError, BackendRejectedError, BackendUnavailableError

if TYPE_CHECKING:
    from fedid.adapters.kubernetes.addresses import Address
    from fedid.adapters.kubernetes.api import Reply

BACKEND: Final = "kubernetes"
NAMESPACE_TERMINATING: Final = "NamespaceTerminating"
_LONGEST_QUOTE: Final = 500
"""Characters of the API server's own words."""

# The API server's wording, stable since 1.12: k8s.io/apiserver `RBAC` reasons, `resourcequota`, admission webhooks.
_BY_RBAC: Final = re.compile(r" cannot \w+ resource ")
_BY_QUOTA: Final = re.compile(r"exceeded quota: ([a-z0-9.-]+)")
_BY_WEBHOOK: Final = re.compile(r'admission webhook "([^"]{1,253})" denied')
_BY_POLICY: Final = re.compile(r"ValidatingAdmissionPolicy '([^']{1,253})'")


def is_denied_by_rbac(reply: Reply) -> bool:
    """Tell whether it was authorization that refused, and not admission."""
    return reply.status == HTTPStatus.FORBIDDEN and _BY_RBAC.search(reply.message) is not None


def is_namespace_ending(reply: Reply) -> bool:
    """Tell whether it was refused because the namespace is being deleted, or gone."""
    if reply.absent:
        return (reply.body.get("details") or {}).get("kind") == "namespaces"
    return any(cause.get("reason") == NAMESPACE_TERMINATING for cause in reply.causes)


def namespace_ending(address: Address) -> BackendDeniedError:
    """Return the error for a namespace that is being deleted."""
    message = f"namespace {address.namespace} is being deleted: nothing can be written there any more"
    return BackendDeniedError(message, backend=BACKEND, reason=NAMESPACE_TERMINATING)


def refusal(reply: Reply) -> BackendError:
    """Return why the API server does not do it, and what to do about it; the reply is of 4xx."""
    verb, address = reply.verb, reply.address
    if is_namespace_ending(reply):
        return namespace_ending(address)
    if reply.status == HTTPStatus.UNAUTHORIZED:
        message = "the API server does not accept the operator's token: check that its ServiceAccount still exists"
        return BackendDeniedError(message, backend=BACKEND)
    if is_denied_by_rbac(reply):
        message = (
            f"the operator may not {verb} {address}: give its ServiceAccount that permission "
            "(helm upgrade with the chart of this version brings it)"
        )
        return BackendDeniedError(message, backend=BACKEND)
    if reply.status == HTTPStatus.CONFLICT:
        message = f"the API server could not {verb} {address} because others write at the same time; trying again"
        return BackendUnavailableError(message, backend=BACKEND)
    message = f"the API server refuses to {verb} {address}: {_grounds(reply)}"
    return BackendRejectedError(message, backend=BACKEND)


def _grounds(reply: Reply) -> str:
    """Return the reason for a refusal by admission or validation, in words that may be shown."""
    if found := _BY_QUOTA.search(reply.message):
        return f"the quota {found[1]} of the namespace is used up; raise it, or delete what is not needed"
    if found := _BY_WEBHOOK.search(reply.message):
        return f"the admission webhook {found[1]} denies it; ask those who run it"
    if found := _BY_POLICY.search(reply.message):
        return f"the ValidatingAdmissionPolicy {found[1]} denies it; ask those who run it"
    if reply.address.resource != "secrets":
        return " ".join(reply.message.split())[:_LONGEST_QUOTE] or f"status {reply.status}"
    fields = sorted({str(cause.get("field")) for cause in reply.causes if cause.get("field")})
    return f"it objects to {', '.join(fields)[:_LONGEST_QUOTE]}" if fields else f"status {reply.status}"
