"""Look at a whole Vault before it is used: is it open, are we let in, is the mount what the Federation says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from hvac.api.system_backend import Capabilities, Health
from hvac.exceptions import Forbidden, InvalidPath

from fedid.adapters.vault.failures import BACKEND, MOUNT_MISMATCH
from fedid.domain.stored import StoreFacts
from fedid.errors import BackendRejectedError, BackendUnavailableError

if TYPE_CHECKING:
    from fedid.adapters.vault.hvac_adapter import HvacAdapter

EXAMPLE: Final = "fedid-probe/bots/fedid-probe/client"
"""Stands for the `*` of a pattern: as deep as what fedid writes, and nobody's."""


class Expected(Protocol):
    """What a layout needs of its mount."""

    @property
    def version(self) -> int:
        """KV version."""

    def needs(self, prefix: str) -> dict[str, frozenset[str]]:
        """Return capabilities by path pattern."""


async def probe(
    anonymous: HvacAdapter, known: HvacAdapter, *, mount: str, prefix: str, expected: Expected
) -> StoreFacts:
    """Return what was found; writes nothing.

    Args:
        anonymous: Sends without a token, also past an open breaker.
        known: Sends with our token.
        mount: Where the KV engine should be.
        prefix: Below which the operator works.
        expected: Version and capabilities.

    Raises:
        BackendUnavailableError: Sealed, not initialised, or a disaster-recovery secondary.
        BackendDeniedError: The login is refused.
        BackendRejectedError: The mount is missing or of another type or version.
    """
    health = await Health(anonymous).read_health_status(method="GET")
    if health.get("replication_dr_mode") == "secondary":
        message = "this Vault is a disaster-recovery secondary and serves nothing: set spec.vault.url to the primary"
        raise BackendUnavailableError(message, backend=BACKEND)
    missing = await _missing(known, expected.needs(prefix))
    nothing_allowed = len(missing) == sum(len(capabilities) for capabilities in expected.needs(prefix).values())
    await _check_mount(known, mount, expected.version, visible=not nothing_allowed)
    return StoreFacts(version=str(health.get("version", "unknown")), missing_permissions=missing)


async def mounted_version(known: HvacAdapter, mount: str) -> int:
    """Return the KV version of a mount other than the Federation's.

    Raises:
        BackendRejectedError: There is no such mount, our policy names nothing in it, or it is no KV engine.
    """
    try:
        answer = await known.get(url=f"/v1/sys/internal/ui/mounts/{mount}")
    except (Forbidden, InvalidPath):
        message = (
            f"Vault shows the operator no mount {mount}: enable a KV engine there and let the policy of the operator's "
            "role work on the paths that the Federation grants, or correct spec.tokens[].vaultMount"
        )
        raise BackendRejectedError(message, backend=BACKEND, reason=MOUNT_MISMATCH) from None
    found = _kv_version(answer["data"])
    if found is None or answer["data"].get("path", f"{mount}/").rstrip("/") != mount:
        message = f"{mount} in Vault is no KV mount: correct spec.tokens[].vaultMount"
        raise BackendRejectedError(message, backend=BACKEND, reason=MOUNT_MISMATCH)
    return found


async def _missing(known: HvacAdapter, needs: dict[str, frozenset[str]]) -> tuple[str, ...]:
    """Return `<capability> on <pattern>` for each that our token lacks."""
    examples = {pattern: pattern.removesuffix("*") + EXAMPLE for pattern in needs}
    answer = await Capabilities(known).get_capabilities(paths=list(examples.values()))
    held = {pattern: frozenset(answer["data"].get(example) or ()) for pattern, example in examples.items()}
    return tuple(
        f"{capability} on {pattern}"
        for pattern, needed in needs.items()
        for capability in sorted(needed - held[pattern])
    )


async def _check_mount(known: HvacAdapter, mount: str, version: int, *, visible: bool) -> None:
    """Raise unless a KV engine of that version is mounted there.

    Args:
        known: Sends with our token.
        mount: Where to look.
        version: 1 or 2.
        visible: Whether our policy names anything in the mount. Vault hides a mount from a token that may do nothing in
            it, so a refusal then says nothing, and the missing permissions say it all.
    """
    try:
        answer = await known.get(url=f"/v1/sys/internal/ui/mounts/{mount}")
    except (Forbidden, InvalidPath):
        if not visible:
            return
        message = f"Vault has no mount {mount}: enable a KV engine there, or correct spec.vault.mount"
        raise BackendRejectedError(message, backend=BACKEND, reason=MOUNT_MISMATCH) from None
    found = _kv_version(answer["data"])
    if found is None:
        message = f"the mount {mount} in Vault is no KV engine: correct spec.vault.mount"
    elif found != version:
        message = f"the mount {mount} in Vault is KV version {found}: set spec.vault.kvVersion to {found}"
    elif answer["data"].get("path", f"{mount}/").rstrip("/") != mount:
        message = f"{mount} is a folder inside the mount {answer['data']['path']}: set spec.vault.mount to the mount"
    else:
        return
    raise BackendRejectedError(message, backend=BACKEND, reason=MOUNT_MISMATCH)


def _kv_version(mount: dict[str, Any]) -> int | None:
    """Return the KV version of a mount, None if it is another engine (`generic` is the old name of version 1)."""
    if mount.get("type") not in {"kv", "generic"}:
        return None
    return int((mount.get("options") or {}).get("version") or 1)
