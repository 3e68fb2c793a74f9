"""What an entry is in both layouts: its data, and its owner mark.

The mark lies in the custom_metadata of KV v2, and in the data of KV v1.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from fedid.adapters.vault.failures import BACKEND
from fedid.domain.sensitive import Sensitive
from fedid.errors import OwnershipConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedid.domain.stored import VaultMark

OWNER: Final = "fedid.owner"
OBJECT: Final = "fedid.object"


def mark_fields(mark: VaultMark) -> dict[str, str]:
    """Return the mark as Vault keeps it."""
    return {OWNER: mark.owner, OBJECT: mark.object_name}


def owner_in(fields: Mapping[str, object] | None) -> str | None:
    """Return the owner mark, or None if there is none."""
    owner = (fields or {}).get(OWNER)
    return owner if isinstance(owner, str) and owner else None


def conflict(path: str, owner: str | None) -> OwnershipConflictError:
    """Return the error that says whose the path is."""
    whose = f"belongs to {owner}" if owner else "was not made by fedid"
    message = f"What lies at {path} in Vault {whose}; it is left untouched. Have its owner remove it"
    return OwnershipConflictError(message, backend=BACKEND)


def shown_data(data: Mapping[str, Any], *, found: str | None, owner: str | None) -> dict[str, Sensitive]:
    """Return the data without the mark, or nothing if the mark found is another than the owner's (None: no mark)."""
    if found != owner:
        return {}
    return {key: Sensitive(_text(value)) for key, value in data.items() if key not in {OWNER, OBJECT}}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
