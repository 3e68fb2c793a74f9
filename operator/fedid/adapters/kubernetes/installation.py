"""The id of this installation: made once, kept in the operator's namespace, part of every owner mark."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from fedid.adapters.kubernetes.addresses import CORE, Address
from fedid.adapters.kubernetes.failures import BACKEND
from fedid.errors import BackendRejectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedid.adapters.kubernetes.api import Api

CONFIG_MAP: Final = "fedid-installation"
KEY: Final = "installationId"


async def installation_id(api: Api, namespace: str) -> str:
    """Return the installation id, after making it at the very first start; two who start at once get the same.

    Args:
        api: Not held back by the fence: whoever is first may make it.
        namespace: The operator's.

    Raises:
        BackendDeniedError: We may not read or create the ConfigMap.
        BackendRejectedError: The ConfigMap holds no id.
    """
    address = Address(CORE, "configmaps", namespace, CONFIG_MAP)
    reply = await api.send("get", address)
    if reply.absent:
        reply = await api.send("create", Address(CORE, "configmaps", namespace), _config_map(namespace))
        if reply.taken:
            reply = await api.send("get", address)
    return _id_in(reply.result(), namespace)


def _config_map(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "fedid", "app.kubernetes.io/managed-by": "fedid"},
        },
        "data": {KEY: str(uuid.uuid4())},
    }


def _id_in(body: Mapping[str, Any], namespace: str) -> str:
    text = (body.get("data") or {}).get(KEY, "")
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        message = (
            f"ConfigMap {CONFIG_MAP} in namespace {namespace} holds no UUID under {KEY}: restore it from a backup; "
            "with another id the operator would take its own clients and entries for a stranger's"
        )
        raise BackendRejectedError(message, backend=BACKEND) from error
