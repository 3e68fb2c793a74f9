"""Which renderer makes the files of which platform: one entry for each block of `spec.platform`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fedid.domain.fields import Body
from fedid.domain.oidc_client import ClientNeeds
from fedid.domain.pod_identity import SERVER
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms import ai4flwr, aiod, bitfount, driverless_ai, flower, flower_accounts, generic
from fedid.platforms.identity import CopySource, Identity

__all__ = ["PLATFORMS", "Platform", "Renderer", "client_needs", "copy_source", "renderer", "residual_window"]

_Options = TypeVar("_Options")
Renderer = Callable[[Identity], dict[str, Sensitive]]


@dataclass(frozen=True, slots=True)
class Platform(Generic[_Options]):
    """One platform."""

    parse: Callable[[Body, str, str], _Options]
    """From its block, where that stands in the object, and the role, to its options; raises InvalidSpecError."""
    render: Callable[[Identity, _Options], dict[str, Sensitive]]
    """From the credential and the options to what each key of the Secret holds; raises InvalidSpecError."""
    copied_from: Callable[[_Options], CopySource] | None = None
    """From the options to the entry that a person made and that is copied; None: nothing is."""
    needs: Callable[[_Options], ClientNeeds] | None = None
    """From the options to what a server of it needs of its own Keycloak client; None: nothing."""
    residual: Callable[[_Options, str], str | None] | None = None
    """From the options and the role to how far what ended goes on being good at a server; None: not at all."""


PLATFORMS: Mapping[str, Platform[Any]] = {
    "flower": Platform(flower.parse, flower.render),
    "generic": Platform(generic.parse, generic.render),
    "ai4flwr": Platform(ai4flwr.parse, ai4flwr.render, residual=ai4flwr.residual),
    "aiod": Platform(aiod.parse, aiod.render),
    "bitfount": Platform(bitfount.parse, bitfount.render, bitfount.copied_from, residual=bitfount.residual),
    "driverlessAi": Platform(
        driverless_ai.parse, driverless_ai.render, needs=driverless_ai.needs, residual=driverless_ai.residual
    ),
}


_SERVERS: Mapping[str, Platform[Any]] = {
    "flower": Platform(
        flower_accounts.parse,
        flower_accounts.render,
        needs=flower_accounts.needs,
        residual=flower_accounts.residual,
    ),
}
"""Platforms whose servers have little in common with their clients."""


def renderer(platform: str, options: Body, role: str) -> Renderer:
    """Return what makes the files of one PodIdentity.

    Args:
        platform: Name of the block that is set under `spec.platform`.
        options: That block, as written.
        role: `client` or `server`.

    Raises:
        InvalidSpecError: There is no such platform, or an option of it means nothing; the message names the field.
    """
    known, parsed = _parsed(platform, options, role)
    return lambda identity: known.render(identity, parsed)


def copy_source(platform: str, options: Body, role: str) -> CopySource | None:
    """Return the entry that a person made and that a PodIdentity copies, None if it copies nothing.

    Args:
        platform: As for `renderer`.
        options: As for `renderer`.
        role: As for `renderer`.

    Raises:
        InvalidSpecError: As `renderer`.
    """
    known, parsed = _parsed(platform, options, role)
    return known.copied_from(parsed) if known.copied_from is not None else None


def residual_window(platform: str, options: Body, role: str) -> str | None:
    """Return in a sentence how far what was ended at the authority goes on being good at a server, None if not at all.

    Args:
        platform: As for `renderer`.
        options: As for `renderer`.
        role: As for `renderer`.

    Raises:
        InvalidSpecError: As `renderer`.
    """
    known, parsed = _parsed(platform, options, role)
    return known.residual(parsed, role) if known.residual is not None else None


def client_needs(platform: str, options: Body) -> ClientNeeds:
    """Return what a server of the platform needs of its own Keycloak client.

    Args:
        platform: Name of the block that is set under `spec.platform`.
        options: That block, as written.

    Raises:
        InvalidSpecError: An option means nothing; the message names the field.
    """
    known, parsed = _parsed(platform, options, SERVER)
    return known.needs(parsed) if known.needs is not None else ClientNeeds()


def _parsed(platform: str, options: Body, role: str) -> tuple[Platform[Any], Any]:
    found = (_SERVERS.get(platform) if role == SERVER else None) or PLATFORMS.get(platform)
    if found is None:
        message = f"spec.platform.{platform} is no platform; write one of {', '.join(PLATFORMS)}"
        raise InvalidSpecError(message)
    return found, found.parse(options, f"spec.platform.{platform}", role)
