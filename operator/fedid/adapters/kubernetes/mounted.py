"""A Secret that pods mount, on the wire and as a value."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from fedid.domain.resources import GROUP_VERSION, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret

if TYPE_CHECKING:
    from collections.abc import Mapping


def secret_body(secret: MountedSecret) -> dict[str, Any]:
    """Return the Secret as the API server takes it: with uid and resourceVersion where the value has them."""
    metadata: dict[str, Any] = {
        "name": secret.name,
        "namespace": secret.namespace,
        "labels": dict(secret.labels),
        "annotations": dict(secret.annotations),
    }
    if secret.uid is not None:
        metadata["uid"] = secret.uid
    if secret.resource_version is not None:
        metadata["resourceVersion"] = secret.resource_version
    if secret.owner_uid is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": GROUP_VERSION,
                "kind": POD_IDENTITY,
                "name": secret.owner_name,
                "uid": secret.owner_uid,
                "controller": True,
                # Else whoever may create a PodIdentity could hold up the deletion of its namespace.
                "blockOwnerDeletion": False,
            }
        ]
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": secret.type,
        "data": {key: base64.b64encode(value.reveal().encode()).decode() for key, value in secret.data.items()},
    }
    if secret.immutable:
        body["immutable"] = True
    return body


def mounted_secret(body: Mapping[str, Any]) -> MountedSecret:
    """Return the Secret as a value; its data only if a PodIdentity controls it, since other Secrets are not ours."""
    metadata = body["metadata"]
    owner = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), None)
    ours = owner is not None and (owner["apiVersion"], owner["kind"]) == (GROUP_VERSION, POD_IDENTITY)
    return MountedSecret(
        namespace=metadata["namespace"],
        name=metadata["name"],
        type=body.get("type") or "Opaque",
        data=plain_data(body) if ours else {},
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        owner_uid=None if owner is None else owner["uid"],
        owner_name=None if owner is None else owner["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        immutable=bool(body.get("immutable", False)),
    )


def plain_data(body: Mapping[str, Any]) -> dict[str, Sensitive]:
    """Return the data of a Secret as text; what is no text differs from anything that fedid would write."""
    data: Mapping[str, str] = body.get("data") or {}
    return {key: Sensitive(base64.b64decode(value).decode(errors="replace")) for key, value in data.items()}
