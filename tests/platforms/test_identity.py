"""Tests of what a renderer gets."""

from __future__ import annotations

import pytest

from fedid.platforms.identity import MountedIdentity
from tests.platforms.samples import AUDIT, DEFAULT, trainer


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        pytest.param(trainer(default=DEFAULT), "default", id="the one named default"),
        pytest.param(trainer(audit=AUDIT, default=DEFAULT), "default", id="the one named default among others"),
        pytest.param(trainer(audit=AUDIT), "audit", id="the only one, whatever its name"),
        pytest.param(trainer(audit=AUDIT, other=DEFAULT), None, id="none of several without that name"),
        pytest.param(trainer(), None, id="none of none"),
    ],
)
def test_the_default_token_is_the_one_named_so_else_the_only_one(identity: MountedIdentity, name: str | None) -> None:
    """`{token}` means the token named `default`, else the only one, and is never a guess among several."""
    assert identity.default_token == name


def test_an_identity_shows_no_credential() -> None:
    """What a renderer gets does not print secret or tokens."""
    shown = repr(trainer(default=DEFAULT))
    assert "fbs_" not in shown
    assert "eyJ" not in shown
