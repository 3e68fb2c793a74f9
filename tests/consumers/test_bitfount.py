"""Bitfount 13.0.0: its own key loader and header code, on files and variables as a pod has them.

The package as a whole cannot run here: it is for Python 3.12 alone, and what it depends on (PyTorch, transformers,
Prefect and a hundred more) is several gigabytes. What is tested is its own code all the same: the wheel is installed
without its dependencies, and only those that this code imports are there. Its Hub and its identity provider are fixed
hosts of its maker, so nothing beyond the loader and the headers can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.consumers.consumer import Consumer, Consumers

KEY_ID = "0a1b2c3d"
PRIVATE, PUBLIC, NUMBER = "modeller_rsa.pem", "modeller_rsa.pub.pem", "modeller_key_id.txt"


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """A key of the size that the SDK makes itself would take seconds; half of it does."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def private(key: RSAPrivateKey, form: PrivateFormat) -> str:
    """Return a private key as text."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def public(key: RSAPrivateKey) -> str:
    """Return the public key as the SDK writes it."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def keys(program: Consumer, consumers: Consumers, **files: str | None) -> dict[str, object]:
    """Return what the loader says of the files `private`, `public` and `number`; None: not there."""
    names = {"private": PRIVATE, "public": PUBLIC, "number": NUMBER}
    folder = consumers.folder / f"keys-{len(list(consumers.folder.iterdir()))}"
    folder.mkdir()
    for name, text in files.items():
        if text is not None:
            (folder / names[name]).write_text(text)
    folder.chmod(0o555)
    return program.ask("keys", folder=str(folder))


@pytest.fixture(scope="module")
def consumers(bitfount: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consumers]:
    """A starter of programs in Bitfount's environment."""
    with ExitStack() as ending:
        yield Consumers(bitfount, tmp_path_factory.mktemp("bitfount"), ending)


@pytest.fixture(scope="module")
def program(consumers: Consumers) -> Consumer:
    """The SDK's code, with API keys of two parts in its environment."""
    variables = {"BITFOUNT_API_KEY_ID": "core-id:am-id", "BITFOUNT_API_KEY": "core:am", "BITFOUNT_USERNAME": "site-a"}
    return consumers.start("bitfount_identity", **variables)


def test_the_loader_takes_a_pair_in_any_form(program: Consumer, consumers: Consumers, key: RSAPrivateKey) -> None:
    """PKCS#8, PKCS#1 and OpenSSH load; a key of another pair does not, nor the public one alone."""
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH):
        loaded = keys(program, consumers, private=private(key, form), public=public(key))
        assert loaded == {"verifies": True, "bits": 2048}, form
    other = generate_private_key(public_exponent=65537, key_size=2048)
    mismatch = keys(program, consumers, private=private(other, PrivateFormat.PKCS8), public=public(key))
    assert mismatch["error"] == "RSAKeyError"
    assert keys(program, consumers, public=public(key))["error"] == "RSAKeyError"


def test_the_key_id_is_the_file_as_it_is(program: Consumer, consumers: Consumers) -> None:
    """A line end would be part of the id, and the Hub would know no such key."""
    for text in (KEY_ID, f"{KEY_ID}\n"):
        folder = consumers.mount("number", {NUMBER: text})
        assert program.ask("key_id", folder=str(folder)) == {"key_id": text}


def test_an_api_key_of_two_parts_is_told_apart(program: Consumer) -> None:
    """The Hub and the message service get what stands before the colon, the access manager all of it."""
    assert program.ask("headers") == {
        "hub": ["core-id", "core"],
        "access_manager": ["core-id:am-id", "core:am"],
        "messages": ["core-id", "core"],
    }
