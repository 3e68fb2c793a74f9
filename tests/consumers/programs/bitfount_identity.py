"""Bitfount's own loader of keys and its own headers, from the real package and without what it drags in.

Importing `bitfount` imports PyTorch, transformers and Prefect; the modules below need none of them. So the packages on
the way to them are entered without their `__init__`.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

_SPECIFICATION = importlib.util.find_spec("bitfount")
assert _SPECIFICATION is not None
assert _SPECIFICATION.origin is not None
for name in ("bitfount", "bitfount.utils", "bitfount.hub", "bitfount.federated"):
    bare = ModuleType(name)
    bare.__path__ = [str(Path(_SPECIFICATION.origin).parent.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = bare

# Only now can they be imported.
from bitfount.compute.keys import _get_key_id, _get_modeller_keys  # noqa: E402
from bitfount.encryption.encryption import _RSAEncryption  # noqa: E402
from bitfount.hub.authentication_handlers import APIKeysHandler  # noqa: E402
from conversation import Answer, converse  # noqa: E402


def keys(folder: str) -> Answer:
    """Load the keys of a modeller, sign with the private one, and check that with the public one."""
    pair = _get_modeller_keys(Path(folder))
    signature = _RSAEncryption.sign_message(pair.private, b"task")
    return {
        "verifies": bool(_RSAEncryption.verify_signature(pair.public, signature, b"task")),
        "bits": pair.public.key_size,
    }


def key_id(folder: str) -> Answer:
    """Return the id under which the Hub knows the public key."""
    return {"key_id": _get_key_id(Path(folder))}


def headers() -> Answer:
    """Return what the Hub and the access manager are sent with the API key of the environment, as the SDK takes it."""
    handler = APIKeysHandler(
        os.environ["BITFOUNT_API_KEY_ID"], os.environ["BITFOUNT_API_KEY"], username=os.environ["BITFOUNT_USERNAME"]
    )
    names = ("x-api-key-id", "x-api-key")
    return {
        "hub": [handler.hub_request_headers[name] for name in names],
        "access_manager": [handler.am_request_headers[name] for name in names],
        "messages": [value for _, value in handler.message_service_request_metadata],
    }


if __name__ == "__main__":
    converse(keys=keys, key_id=key_id, headers=headers)
