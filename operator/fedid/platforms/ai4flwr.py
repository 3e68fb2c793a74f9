"""The ai4flwr platform: the bearer tokens of AI4OS federated learning, as its interceptors and plugins read them.

Sources: `ai4flwr/auth/bearer.py` of the wheel 0.2.0 (distribution `PyPI`); `src/ai4flwr/auth/{bearer,vault}.py` and
`examples/oidc_vault_server.py` of ai4os/ai4-flwr at 3943747 (distribution `Git`), which calls itself 0.2.0 too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fedid.domain.fields import Body, section, text, text_or_none
from fedid.domain.pod_identity import SERVER
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.bearer import bearer_token, header_safe
from fedid.platforms.certificates import ca_bundle_of
from fedid.platforms.identity import AcceptedBot, Identity, ServedIdentity

__all__ = ["Ai4Flwr", "parse", "render", "residual"]

HEADERS: Final[Mapping[str, str]] = {"PyPI": "authorization", "Git": "x-authorization"}
"""Metadata key that client and server use, by distribution: each refuses what the other sends."""
_FILE: Final = "File"
_VAULT: Final = "Vault"
_OF_CLIENTS: Final = ("token", "caBundle")
_OF_SERVERS: Final = ("mode", "vault")
_SHOWN: Final = 3
_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Ai4Flwr:
    """Options of the block."""

    distribution: str
    """`PyPI` or `Git`."""
    mode: str | None = None
    """Where a server of the distribution `Git` has its tokens from: `File` or `Vault`; None for all others."""
    token: str | None = None
    """Name of the token that a client presents."""
    ca_bundle: str | None = None
    """PEM of the authority that a client trusts."""
    deployment: str | None = None
    """Id of the server's deployment, with which Vault's layout names its tokens."""
    virtual_organisation: str | None = None
    """The same layout's part before it, in production."""


def parse(options: Body, path: str, role: str) -> Ai4Flwr:
    """Return the options.

    Raises:
        InvalidSpecError: A field is missing, means nothing, or is another role's or distribution's.
    """
    distribution = text(options, f"{path}.distribution")
    if distribution not in HEADERS:
        message = f"{path}.distribution is {distribution[:40]!r}; write PyPI or Git"
        raise InvalidSpecError(message)
    serves = role == "server"
    for name in _OF_CLIENTS if serves else _OF_SERVERS:
        if options.get(name) is not None:
            message = f"{path}.{name} is for role: {'client' if serves else 'server'}; take it out"
            raise InvalidSpecError(message)
    if not serves:
        return Ai4Flwr(
            distribution,
            token=text_or_none(options, f"{path}.token"),
            ca_bundle=ca_bundle_of(options, f"{path}.caBundle"),
        )
    return _of_server(options, path, distribution)


def render(identity: Identity, options: Ai4Flwr) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds.

    Args:
        identity: The bot whose token a client presents, or those whose tokens a server accepts.
        options: The block.

    Raises:
        InvalidSpecError: The bot has no such token (reason `TokenMissing`), a token cannot travel in a header, or
            more bots are accepted than such a server can read.
    """
    if isinstance(identity, ServedIdentity):
        accepted = [bot for bot in identity.accepted if bot.tokens]
        for bot in accepted:
            for token in bot.tokens:
                header_safe(token, f"a token of {bot.name}")
        if options.mode == _VAULT:
            return _vault_server(accepted, options)
        return _file_server(identity) if options.mode == _FILE else _index_server(accepted)
    files = {
        "token": bearer_token(identity, options.token, "spec.platform.ai4flwr.token"),
        "header": Sensitive(HEADERS[options.distribution]),
    }
    if options.ca_bundle is not None:
        files["ca.crt"] = Sensitive(options.ca_bundle)
    return files


def residual(options: Ai4Flwr, role: str) -> str | None:
    """Return how far a token that left the list goes on being good: a server reads it only when it must."""
    if role != SERVER:
        return None
    if options.mode == _FILE:
        return (
            "A client that is connected while its token leaves the list finishes its rounds; to end those too, start "
            "the server anew"
        )
    return (
        "The server takes the tokens of its start, those of revoked bots too, until it is started anew; "
        "reload: Restart does so at each change"
    )


def _of_server(options: Body, path: str, distribution: str) -> Ai4Flwr:
    mode = text_or_none(options, f"{path}.mode")
    if distribution == "PyPI":
        if mode is not None or options.get("vault") is not None:
            message = (
                f"{path}.{'mode' if mode is not None else 'vault'} needs distribution: Git; the server of the package "
                "index takes one token at its start, and reads neither a file of several nor Vault"
            )
            raise InvalidSpecError(message)
        return Ai4Flwr(distribution)
    mode = mode or _FILE
    if mode not in {_FILE, _VAULT}:
        message = f"{path}.mode is {mode[:40]!r}; write File or Vault"
        raise InvalidSpecError(message)
    if (mode == _VAULT) != (options.get("vault") is not None):
        message = f"{path}: mode: Vault and vault: {{deployment: <id>}} go together; write both or neither"
        raise InvalidSpecError(message)
    if mode == _FILE:
        return Ai4Flwr(distribution, mode)
    vault = section(options, f"{path}.vault")
    deployment = text(vault, f"{path}.vault.deployment")
    organisation = text_or_none(vault, f"{path}.vault.virtualOrganisation")
    for name, part in (("deployment", deployment), ("virtualOrganisation", organisation)):
        if part is not None and not _PART.fullmatch(part):
            message = f"{path}.vault.{name} is one part of a path in Vault; write letters, digits, `-`, `_` and `.`"
            raise InvalidSpecError(message)
    return Ai4Flwr(distribution, mode, deployment=deployment, virtual_organisation=organisation)


def _index_server(accepted: list[AcceptedBot]) -> dict[str, Sensitive]:
    """The wheel's interceptor takes one token when it is made; without one it makes up its own, which nobody has."""
    if len(accepted) > 1:
        message = (
            "an ai4flwr server of distribution: PyPI takes the token of one bot, and spec.accepts picks "
            f"{_named(accepted)}; narrow the selector, or use distribution: Git"
        )
        raise InvalidSpecError(message)
    return {"token": accepted[0].in_use if accepted else Sensitive("")}


def _file_server(identity: ServedIdentity) -> dict[str, Sensitive]:
    """One token in a line and nothing else: a remark would be a token. An empty file lets nobody in."""
    return {"tokens": Sensitive("".join(f"{token.reveal()}\n" for token in identity.accepted_tokens))}


def _vault_server(accepted: list[AcceptedBot], options: Ai4Flwr) -> dict[str, Sensitive]:
    """The interceptor lists one folder of one subject when it is made, and never again.

    So there is a fingerprint of the tokens beside the folder: when it changes, the server must be started anew.
    """
    subjects = {bot.subject for bot in accepted}
    if len(subjects) > 1:
        message = (
            "an ai4flwr server of mode: Vault reads the folder of one subject, and spec.accepts picks "
            f"{_named(accepted)}; narrow the selector, or use mode: File"
        )
        raise InvalidSpecError(message)
    if not subjects:
        return {"secret_path": Sensitive(""), "tokens.sha256": Sensitive("")}
    organisation = f"{options.virtual_organisation}/" if options.virtual_organisation else ""
    folder = f"users/{subjects.pop()}/{organisation}deployments/{options.deployment}/federated/"
    tokens = sorted({token.reveal() for bot in accepted for token in bot.tokens})
    digest = hashlib.sha256("\n".join(tokens).encode()).hexdigest()
    return {"secret_path": Sensitive(folder), "tokens.sha256": Sensitive(digest)}


def _named(bots: list[AcceptedBot]) -> str:
    names = [bot.name for bot in bots]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
