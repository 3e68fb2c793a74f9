"""PodIdentity as a frozen value: whose credential one kind of pod mounts, in which platform's format, in which Secret.

What stands in the block of the platform is the business of its renderer, which parses it (`fedid.platforms`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedid.domain.fields import Body, section, text, text_or_none
from fedid.domain.label_selector import OPERATORS, LabelSelector, parse_selector
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_reload import Reload, parse_reload
from fedid.domain.resources import BOT_CLIENT, Meta, meta_of
from fedid.errors import InvalidSpecError

__all__ = ["CLIENT", "SERVER", "PodIdentity", "parse_pod_identity"]

CLIENT: Final = "client"
"""`role` of what presents a credential to others."""
SERVER: Final = "server"
"""`role` of what checks the credentials of others."""


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """What one kind of pod mounts, as files of one Secret."""

    meta: Meta
    role: str
    """`client` or `server`."""
    bot: ObjectKey
    """Whose credential is presented."""
    secret_name: str
    platform: str
    """Name of the block that is set under `spec.platform`."""
    options: Body
    """That block, as written."""
    pods: LabelSelector | None = None
    """Which pods of the namespace are told of a change; None: nobody."""
    reload: Reload = Reload.NONE
    """What is done beside telling them."""


def parse_pod_identity(body: Body) -> PodIdentity:
    """Return the PodIdentity.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    spec, meta = section(body, "spec"), meta_of(body)
    role = text(spec, "spec.role")
    if role != CLIENT:
        message = f"spec.role is {role!r}; write {CLIENT}"
        raise InvalidSpecError(message)
    platform, options = _platform(spec)
    name = text(section(spec, "spec.botClientRef"), "spec.botClientRef.name")
    return PodIdentity(
        meta=meta,
        role=role,
        bot=ObjectKey(BOT_CLIENT, meta.key.namespace, name),
        secret_name=text_or_none(spec, "spec.secretName") or meta.key.name,
        platform=platform,
        options=options,
        pods=_pod_selector(spec),
        reload=parse_reload(spec),
    )


def _platform(spec: Body) -> tuple[str, Body]:
    platform = section(spec, "spec.platform")
    named = sorted(name for name, block in platform.items() if block is not None)
    if len(named) != 1:
        told = ", ".join(named) or "nothing"
        message = f"spec.platform names {told}; set exactly one, for example generic: {{files: {{<key>: <template>}}}}"
        raise InvalidSpecError(message)
    return named[0], section(platform, f"spec.platform.{named[0]}")


def _pod_selector(spec: Body) -> LabelSelector | None:
    if spec.get("pods") is None:
        return None
    path = "spec.pods.selector"
    selector = parse_selector(section(spec, "spec.pods"), path)
    if not (selector.match_labels or selector.match_expressions):
        message = f"{path} is empty and would select every pod of the namespace; write matchLabels: {{app: <name>}}"
        raise InvalidSpecError(message)
    for number, (_, operator, _) in enumerate(selector.match_expressions):
        if operator not in OPERATORS:
            known = ", ".join(OPERATORS)
            message = f"{path}.matchExpressions[{number}].operator is {operator!r}; write one of {known}"
            raise InvalidSpecError(message)
    return selector
