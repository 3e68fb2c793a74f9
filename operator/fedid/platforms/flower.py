"""Flower: what a SuperNode reads to be let in by its SuperLink.

Source: flwr 1.41 `supernode/cli/flower_supernode.py` (arguments), `supercore/primitives/asymmetric.py` (the key).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fedid.domain.durations import duration
from fedid.domain.fields import Body, section, section_or_empty, text, text_or_none
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import SuperLinkAccess
from fedid.domain.web_address import web_address
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, MountedIdentity

__all__ = ["FlowerOptions", "SuperNodeOptions", "parse", "render"]

NO_ACCOUNT: Final = "None"
BOT: Final = "Bot"
_OVERLAP: Final = timedelta(minutes=10)
_MOUNT_PATH: Final = "/etc/flower"
_PATH: Final = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_CLIENT: Final = "client"


@dataclass(frozen=True, slots=True)
class SuperNodeOptions:
    """One SuperNode."""

    super_link: SuperLinkAccess
    address: str
    """`host:port`, as Flower's programs want it."""
    as_bot: bool
    """Whether the SuperLink has accounts, and the bot's is the node's owner."""
    mount_path: str
    """Where the pod mounts the Secret."""
    every: timedelta | None
    overlap: timedelta


@dataclass(frozen=True, slots=True)
class FlowerOptions:
    """The block `spec.platform.flower`."""

    super_node: SuperNodeOptions


def parse(options: Body, path: str, role: str) -> FlowerOptions:
    """Return the options.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    if role != _CLIENT:
        message = f"{path}.superNode is of what presents a key, so it needs role: {_CLIENT}"
        raise InvalidSpecError(message)
    node, where = section(options, f"{path}.superNode"), f"{path}.superNode"
    link = section(node, f"{where}.superLink")
    url = text(link, f"{where}.superLink.url")
    account = text_or_none(link, f"{where}.superLink.account") or NO_ACCOUNT
    if account not in {NO_ACCOUNT, BOT}:
        message = f"{where}.superLink.account is {account!r}; write {NO_ACCOUNT} or {BOT}"
        raise InvalidSpecError(message)
    mount_path = text_or_none(node, f"{where}.mountPath") or _MOUNT_PATH
    if not _PATH.fullmatch(mount_path):
        message = f"{where}.mountPath is {mount_path!r}; write a plain absolute path such as {_MOUNT_PATH}"
        raise InvalidSpecError(message)
    rotation = section_or_empty(node, f"{where}.rotation")
    every, overlap = (text_or_none(rotation, f"{where}.rotation.{name}") for name in ("every", "overlap"))
    return FlowerOptions(
        SuperNodeOptions(
            super_link=SuperLinkAccess(url, text_or_none(link, f"{where}.superLink.caBundle")),
            address=_address(url, f"{where}.superLink.url"),
            as_bot=account == BOT,
            mount_path=mount_path,
            every=duration(every, f"{where}.rotation.every") if every is not None else None,
            overlap=duration(overlap, f"{where}.rotation.overlap") if overlap is not None else _OVERLAP,
        )
    )


def render(identity: Identity, options: FlowerOptions) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds.

    Raises:
        InvalidSpecError: The identity has no SuperNode key.
    """
    node = options.super_node
    if not isinstance(identity, MountedIdentity) or identity.node_key is None:
        message = "spec.platform.flower.superNode has no key yet"
        raise InvalidSpecError(message)
    arguments = ["--superlink", node.address]
    files = {
        "superlink": Sensitive(node.address),
        "supernode.key": identity.node_key.private_key,
        "supernode.pub": Sensitive(f"{identity.node_key.authorized_key}\n"),
    }
    if node.super_link.ca_bundle is not None:
        files["ca.crt"] = Sensitive(node.super_link.ca_bundle)
        arguments += ["--root-certificates", f"{node.mount_path}/ca.crt"]
    arguments += ["--auth-supernode-private-key", f"{node.mount_path}/supernode.key"]
    files["supernode.args"] = Sensitive(" ".join(arguments) + "\n")
    return files


def _address(url: str, path: str) -> str:
    address = web_address(url)
    if address is None or address.scheme != "https" or address.segments:
        message = f"{path} is {url!r}; write https://<host>[:<port>], small letters and nothing behind it"
        raise InvalidSpecError(message)
    return f"{address.host}:{address.port}"
