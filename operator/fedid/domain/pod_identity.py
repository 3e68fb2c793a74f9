"""PodIdentity as a frozen value: whose credential one kind of pod mounts, in which platform's format, in which Secret.

What stands in the block of the platform is the business of its renderer, which parses it (`fedid.platforms`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedid.domain.acceptance import Accepts, parse_accepts
from fedid.domain.fields import Body, section, section_or_empty, text, text_or_none
from fedid.domain.label_selector import LabelSelector, checked_selector
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
    federation: str | None
    """Of a server; None: the default one. A client's is that of its bot."""
    bot: ObjectKey | None
    """Whose credential a client presents."""
    accepts: Accepts | None
    """Whose tokens a server takes; None: nobody's."""
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
    if role not in {CLIENT, SERVER}:
        message = f"spec.role is {role!r}; write {CLIENT} or {SERVER}"
        raise InvalidSpecError(message)
    platform, options = _platform(spec)
    return PodIdentity(
        meta=meta,
        role=role,
        federation=text_or_none(section_or_empty(spec, "spec.federationRef"), "spec.federationRef.name"),
        bot=_bot(spec, meta) if role == CLIENT else None,
        accepts=parse_accepts(spec) if role == SERVER else None,
        secret_name=text_or_none(spec, "spec.secretName") or meta.key.name,
        platform=platform,
        options=options,
        pods=_pod_selector(spec),
        reload=parse_reload(spec),
    )


def _bot(spec: Body, meta: Meta) -> ObjectKey:
    reference = section(spec, "spec.botClientRef")
    namespace = text_or_none(reference, "spec.botClientRef.namespace") or meta.key.namespace
    return ObjectKey(BOT_CLIENT, namespace, text(reference, "spec.botClientRef.name"))


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
    empty = "would select every pod of the namespace; write matchLabels: {app: <name>}"
    return checked_selector(section(spec, "spec.pods"), "spec.pods.selector", empty)
