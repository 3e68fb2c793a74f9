"""Tests of the TOML that platforms mount: what goes in comes out, whatever it is."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedid.errors import InvalidSpecError
from fedid.platforms.toml_text import toml_text

VALUES = st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1))


@given(st.dictionaries(st.text("abcdefghij_", min_size=1), VALUES, max_size=4))
@example({"client_secret": '"\nclient_id = "other'})
@example({"client_secret": '\\", a = "'})
@example({"client_secret": '"""\x00\x1f\x7f\r\n\t\b\f'})
@example({"client_secret": "\N{GRINNING FACE} \u2028\ufeff"})
def test_no_value_is_read_as_anything_but_itself(values: dict[str, str | int]) -> None:
    """A reader of TOML finds the same keys with the same values, and no others."""
    assert tomllib.loads(toml_text(values)) == values


def test_what_no_file_can_hold_is_refused_unseen() -> None:
    """Half of a surrogate pair, which JSON can bring along, names the key and not the value."""
    with pytest.raises(InvalidSpecError, match=r"^client_secret holds half") as caught:
        toml_text({"client_secret": "s3cret\ud800"})
    assert "s3cret" not in caught.value.message
