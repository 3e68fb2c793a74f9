"""Flower: what a SuperNode reads to be let in by its SuperLink, and what the command `flwr` does to act as a bot.

Source: flwr 1.41 `supernode/cli/flower_supernode.py` (arguments), `supercore/primitives/asymmetric.py` (the key),
`cli/constant.py` (sections and keys), `supercore/credential_store/file_credential_store.py` (base64 of each value).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fedid.domain.conditions import Reason
from fedid.domain.durations import duration
from fedid.domain.fields import Body, section, section_or_empty, text, text_or_none
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import SuperLinkAccess
from fedid.domain.web_address import web_address
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, MountedIdentity

__all__ = ["BOT", "CliOptions", "FlowerOptions", "SuperNodeOptions", "parse", "render"]

NO_ACCOUNT: Final = "None"
BOT: Final = "Bot"
_OVERLAP: Final = timedelta(minutes=10)
_MOUNT_PATH: Final = "/etc/flower"
_PATH: Final = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_CLIENT: Final = "client"
_CONNECTION: Final = "fedid"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_FEDERATION: Final = re.compile(r"[A-Za-z0-9@/._-]{1,255}")
_NO_REFRESH: Final = "none"
"""`flwr` asks for a refresh token to be there and never uses it while the access token is good."""


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
class CliOptions:
    """The command `flwr`, signed in as the bot."""

    address: str
    """`host:port`."""
    ca_bundle: str | None
    token: str | None
    """Name of the bot's token; None: `default`, else the only one."""
    connection: str
    """What the connection is called in `config.toml`."""
    federation: str | None
    """Of Flower; None: the SuperLink's default."""
    mount_path: str


@dataclass(frozen=True, slots=True)
class FlowerOptions:
    """The block `spec.platform.flower`: exactly one of them."""

    super_node: SuperNodeOptions | None = None
    cli: CliOptions | None = None


def parse(options: Body, path: str, role: str) -> FlowerOptions:
    """Return the options.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    named = [name for name in ("superNode", "cli") if options.get(name) is not None]
    if len(named) != 1:
        message = f"{path} sets {' and '.join(named) or 'nothing'}; set exactly one of superNode and cli"
        raise InvalidSpecError(message)
    where = f"{path}.{named[0]}"
    if role != _CLIENT:
        message = f"{where} is of what presents a credential, so it needs role: {_CLIENT}"
        raise InvalidSpecError(message)
    block = section(options, where)
    if named == ["cli"]:
        return FlowerOptions(cli=_cli(block, where))
    return FlowerOptions(super_node=_super_node(block, where))


def render(identity: Identity, options: FlowerOptions) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds.

    Raises:
        InvalidSpecError: The identity has no SuperNode key, or the bot not that token.
    """
    if options.super_node is not None:
        return _render_super_node(identity, options.super_node)
    if options.cli is not None:
        return _render_cli(identity, options.cli)
    message = "spec.platform.flower sets nothing; set exactly one of superNode and cli"
    raise InvalidSpecError(message)


def _super_node(node: Body, where: str) -> SuperNodeOptions:
    link = section(node, f"{where}.superLink")
    url = text(link, f"{where}.superLink.url")
    account = text_or_none(link, f"{where}.superLink.account") or NO_ACCOUNT
    if account not in {NO_ACCOUNT, BOT}:
        message = f"{where}.superLink.account is {account!r}; write {NO_ACCOUNT} or {BOT}"
        raise InvalidSpecError(message)
    rotation = section_or_empty(node, f"{where}.rotation")
    every, overlap = (text_or_none(rotation, f"{where}.rotation.{name}") for name in ("every", "overlap"))
    return SuperNodeOptions(
        super_link=SuperLinkAccess(url, text_or_none(link, f"{where}.superLink.caBundle")),
        address=_address(url, f"{where}.superLink.url"),
        as_bot=account == BOT,
        mount_path=_mount_path(node, where),
        every=duration(every, f"{where}.rotation.every") if every is not None else None,
        overlap=duration(overlap, f"{where}.rotation.overlap") if overlap is not None else _OVERLAP,
    )


def _cli(cli: Body, where: str) -> CliOptions:
    link = section(cli, f"{where}.superLink")
    connection = text_or_none(cli, f"{where}.connection") or _CONNECTION
    federation = text_or_none(cli, f"{where}.federation")
    if not _NAME.fullmatch(connection):
        message = f"{where}.connection is {connection!r}; write letters, digits, `-` and `_`, such as {_CONNECTION}"
        raise InvalidSpecError(message)
    if federation is not None and not _FEDERATION.fullmatch(federation):
        message = f"{where}.federation is {federation!r}; write a name of Flower, such as @ana/hospitals"
        raise InvalidSpecError(message)
    return CliOptions(
        address=_address(text(link, f"{where}.superLink.url"), f"{where}.superLink.url"),
        ca_bundle=text_or_none(link, f"{where}.superLink.caBundle"),
        token=text_or_none(cli, f"{where}.token"),
        connection=connection,
        federation=federation,
        mount_path=_mount_path(cli, where),
    )


def _render_super_node(identity: Identity, node: SuperNodeOptions) -> dict[str, Sensitive]:
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


def _render_cli(identity: Identity, cli: CliOptions) -> dict[str, Sensitive]:
    name = (cli.token or identity.default_token) if isinstance(identity, MountedIdentity) else None
    token = identity.tokens.get(name) if isinstance(identity, MountedIdentity) and name is not None else None
    if token is None:
        have = ", ".join(sorted(identity.tokens)) if isinstance(identity, MountedIdentity) else ""
        message = (
            f"spec.platform.flower.cli presents token {name or 'default'}, and the bot's published tokens are: "
            f"{have or 'none'}. Name one of them in spec.platform.flower.cli.token, or add it to the BotClient"
        )
        raise InvalidSpecError(message, reason=Reason.TOKEN_MISSING)
    lines = ["[superlink]", f'default = "{cli.connection}"', "", f"[superlink.{cli.connection}]"]
    lines.append(f'address = "{cli.address}"')
    files = {}
    if cli.ca_bundle is not None:
        files["ca.crt"] = Sensitive(cli.ca_bundle)
        lines.append(f'root-certificates = "{cli.mount_path}/ca.crt"')
    if cli.federation is not None:
        lines.append(f'federation = "{cli.federation}"')
    files["config.toml"] = Sensitive("\n".join(lines) + "\n")
    held = {"authn-type": "oidc", "oidc-access-token": token.token.reveal(), "oidc-refresh-token": _NO_REFRESH}
    told = (f"flower.account-auth.{cli.address}.{key}: {_base64(value)}\n" for key, value in held.items())
    files["credentials.yaml"] = Sensitive("".join(told))
    return files


def _base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _mount_path(block: Body, where: str) -> str:
    mount_path = text_or_none(block, f"{where}.mountPath") or _MOUNT_PATH
    if not _PATH.fullmatch(mount_path):
        message = f"{where}.mountPath is {mount_path!r}; write a plain absolute path such as {_MOUNT_PATH}"
        raise InvalidSpecError(message)
    return mount_path


def _address(url: str, path: str) -> str:
    address = web_address(url)
    if address is None or address.scheme != "https" or address.segments:
        message = f"{path} is {url!r}; write https://<host>[:<port>], small letters and nothing behind it"
        raise InvalidSpecError(message)
    return f"{address.host}:{address.port}"
