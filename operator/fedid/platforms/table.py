"""Which renderer makes the files of which platform: one entry for each block of `spec.platform`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fedid.domain.fields import Body
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms import flower, generic
from fedid.platforms.identity import Identity

__all__ = ["PLATFORMS", "Platform", "Renderer", "renderer"]

_Options = TypeVar("_Options")
Renderer = Callable[[Identity], dict[str, Sensitive]]


@dataclass(frozen=True, slots=True)
class Platform(Generic[_Options]):
    """One platform."""

    parse: Callable[[Body, str, str], _Options]
    """From its block, where that stands in the object, and the role, to its options; raises InvalidSpecError."""
    render: Callable[[Identity, _Options], dict[str, Sensitive]]
    """From the credential and the options to what each key of the Secret holds; raises InvalidSpecError."""


PLATFORMS: Mapping[str, Platform[Any]] = {
    "flower": Platform(flower.parse, flower.render),
    "generic": Platform(generic.parse, generic.render),
}


def renderer(platform: str, options: Body, role: str) -> Renderer:
    """Return what makes the files of one PodIdentity.

    Args:
        platform: Name of the block that is set under `spec.platform`.
        options: That block, as written.
        role: `client` or `server`.

    Raises:
        InvalidSpecError: There is no such platform, or an option of it means nothing; the message names the field.
    """
    known = PLATFORMS.get(platform)
    if known is None:
        message = f"spec.platform.{platform} is no platform; write one of {', '.join(PLATFORMS)}"
        raise InvalidSpecError(message)
    parsed = known.parse(options, f"spec.platform.{platform}", role)
    return lambda identity: known.render(identity, parsed)
