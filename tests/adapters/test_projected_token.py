"""Whose the operator's own token is."""

from __future__ import annotations

from pathlib import Path

import jwt

from fedid.adapters.projected_token import token_subject

SUBJECT = "system:serviceaccount:fedid-system:fedid"


def test_the_first_token_that_can_be_read_tells(tmp_path: Path) -> None:
    """A missing file, garbage and a token without a subject are passed over."""
    garbage, bare, good = (tmp_path / name for name in ("garbage", "bare", "good"))
    garbage.write_text("no.token.at-all")
    bare.write_text(jwt.encode({"iss": "x"}, "k" * 32, "HS256"))
    good.write_text(jwt.encode({"sub": SUBJECT, "exp": 1}, "k" * 32, "HS256") + "\n")
    assert token_subject([tmp_path / "missing", garbage, bare, good]) == SUBJECT
    assert token_subject([tmp_path / "missing", garbage, bare]) == ""
