"""What one installation is known by: its id, made once and part of every owner mark, and the epochs that it claimed.

Both lie in one ConfigMap of the operator's namespace, so that a copy of a cluster has both or none.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from fedid.adapters.kubernetes.addresses import CORE, Address
from fedid.adapters.kubernetes.failures import BACKEND
from fedid.domain.epoch import RememberedEpoch
from fedid.errors import BackendRejectedError, StaleObjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedid.adapters.kubernetes.api import Api

CONFIG_MAP: Final = "fedid-installation"
KEY: Final = "installationId"
EPOCHS_KEY: Final = "epochs"
"""JSON: Federation name to what is remembered of its epoch."""


async def installation_id(api: Api, namespace: str) -> str:
    """Return the installation id, after making it at the very first start; two who start at once get the same.

    Args:
        api: Not held back by the fence: whoever is first may make it.
        namespace: The operator's.

    Raises:
        BackendDeniedError: We may not read or create the ConfigMap.
        BackendRejectedError: The ConfigMap holds no id.
    """
    address = _address(namespace)
    reply = await api.send("get", address)
    if reply.absent:
        reply = await api.send("create", Address(CORE, "configmaps", namespace), _config_map(namespace))
        if reply.taken:
            reply = await api.send("get", address)
    return _id_in(reply.result(), namespace)


async def remembered_epoch(api: Api, namespace: str, federation: str) -> RememberedEpoch:
    """Return what is remembered of the epochs of a Federation.

    Raises:
        BackendDeniedError: We may not read the ConfigMap.
        BackendRejectedError: It is gone.
    """
    return _remembered_in((await api.send("get", _address(namespace))).result(), federation)


async def remember_epoch(api: Api, namespace: str, federation: str, remembered: RememberedEpoch) -> RememberedEpoch:
    """Replace what is remembered of a Federation, and return it with its version.

    Raises:
        StaleObjectError: The ConfigMap changed since it was read.
        BackendDeniedError: We may not read or patch it.
        BackendRejectedError: It is gone.
    """
    found = (await api.send("get", _address(namespace))).result()
    epochs = {**_epochs_in(found), federation: remembered.as_json()}
    kept = json.dumps({name: one for name, one in epochs.items() if one}, sort_keys=True)
    # Not the version just read: another replica may have claimed since the caller decided.
    patch = {"metadata": {"resourceVersion": remembered.version}, "data": {EPOCHS_KEY: kept}}
    reply = await api.send("patch", _address(namespace), patch)
    if reply.conflicting:
        message = f"ConfigMap {CONFIG_MAP} in namespace {namespace} changed since it was read; reading it again"
        raise StaleObjectError(message)
    return _remembered_in(reply.result(), federation)


def _address(namespace: str) -> Address:
    return Address(CORE, "configmaps", namespace, CONFIG_MAP)


def _remembered_in(body: Mapping[str, Any], federation: str) -> RememberedEpoch:
    return RememberedEpoch.from_json(_epochs_in(body).get(federation), body["metadata"]["resourceVersion"])


def _epochs_in(body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads((body.get("data") or {}).get(EPOCHS_KEY) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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
