"""Tests of the value that must never be seen."""

from __future__ import annotations

import contextlib
import copy
import hmac
import io
import json
import logging
import pickle
import pprint
import string
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.sensitive import REDACTED, Sensitive

PLAIN = "hush-a-very-secret-value"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
"""Lone surrogates included: JSON can hold them."""


@dataclass(frozen=True)
class Holder:
    """Something that holds a credential among other fields."""

    name: str
    secret: Sensitive


class HolderError(Exception):
    """An exception that carries a holder."""


def _logged(template: object, *args: object, **extra: object) -> str:
    stream = io.StringIO()
    logger = logging.Logger("sensitive")  # noqa: LOG001 - of this test alone, under no root
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(extra)s", defaults={"extra": ""}))
    logger.addHandler(handler)
    logger.error(template, *args, extra={"extra": extra} if extra else None)
    return stream.getvalue()


def _fail(value: Sensitive) -> None:
    raise HolderError(Holder("bot", value), value)


def _raised(value: Sensitive) -> str:
    with pytest.raises(HolderError) as caught:
        _fail(value)
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    return "".join(lines) + str(caught.value) + repr(caught.value)


def _printed(value: Sensitive) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print(value, [value], {"secret": value})
        pprint.pprint(Holder("bot", value))  # noqa: T203 - what is tested
    return out.getvalue()


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(ascii, id="ascii"),
        pytest.param(lambda value: f"{value} {value!r} {value!s} {value!a} {value:>60} {value:x}", id="f-string"),
        pytest.param("{0} {0!r} {0:40}".format, id="str.format"),
        pytest.param(lambda value: "%s %r %a %60s" % (value, value, value, value), id="percent formatting"),  # noqa: UP031 - what is tested
        pytest.param(lambda value: string.Template("$x").substitute(x=value), id="string template"),
        pytest.param(lambda value: format(value, ">10"), id="format with a width"),
        pytest.param(lambda value: repr([value, (value,), {value: value}, {value}]), id="within containers"),
        pytest.param(lambda value: repr(Holder("bot", value)), id="within a dataclass"),
        pytest.param(_printed, id="print and pprint"),
        pytest.param(_raised, id="traceback with local variables, of an exception with a dataclass"),
        pytest.param(lambda value: _logged("%s %r", value, value), id="logging, as an argument"),
        pytest.param(_logged, id="logging, as the message"),
        pytest.param(lambda value: _logged("x", secret=value), id="logging, as an extra field"),
        pytest.param(lambda value: _logged("%(a)s", {"a": Holder("bot", value)}), id="logging, in a mapping"),
        pytest.param(lambda value: json.dumps({"x": value}, default=str), id="json with a fallback to str"),
        pytest.param(lambda value: json.dumps({"x": value}, default=repr), id="json with a fallback to repr"),
    ],
)
def test_whatever_shows_a_value_shows_nothing(shown: Callable[[Sensitive], str]) -> None:
    """No way of turning an object into text reveals the credential in it."""
    text = shown(Sensitive(PLAIN))
    assert PLAIN not in text
    assert REDACTED in text


@pytest.mark.parametrize(
    "serialise",
    [
        pytest.param(json.dumps, id="json"),
        *(
            pytest.param(lambda value, p=protocol: pickle.dumps(value, p), id=f"pickle protocol {protocol}")
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        pytest.param(copy.copy, id="a copy"),
        pytest.param(copy.deepcopy, id="a deep copy"),
        pytest.param(lambda value: pickle.dumps(Holder("bot", value)), id="pickle of a holder"),
        pytest.param(lambda value: asdict(Holder("bot", value)), id="dataclasses.asdict"),
        pytest.param(lambda value: value.__reduce__(), id="what pickle asks for"),
        pytest.param(lambda value: value.__getstate__(), id="its state"),
        pytest.param(vars, id="vars"),
    ],
)
def test_it_cannot_be_serialised(serialise: Callable[[Sensitive], object]) -> None:
    """Every way of taking the value elsewhere is refused, and the refusal does not show it."""
    with pytest.raises(TypeError) as caught:
        serialise(Sensitive(PLAIN))
    assert PLAIN not in "".join(traceback.format_exception(caught.value))


def test_it_has_no_attribute_to_set_or_read_by_accident() -> None:
    """Nothing can be added to it, and no public name but the two methods leads to the value."""
    value = Sensitive(PLAIN)
    with pytest.raises(AttributeError):
        value.note = "x"  # type: ignore[attr-defined]
    assert {name for name in dir(value) if not name.startswith("_")} == {"reveal", "fingerprint"}


@given(ANY_TEXT)
def test_reveal_is_the_one_way(plain: str) -> None:
    """What was put in comes out of `reveal`, and of nothing else."""
    value = Sensitive(plain)
    assert value.reveal() == plain
    assert (str(value), repr(value), f"{value:{len(plain)}}") == (REDACTED, REDACTED, REDACTED)
    assert bool(value) == bool(plain)


@given(ANY_TEXT, ANY_TEXT)
def test_equal_is_what_holds_the_same(one: str, other: str) -> None:
    """Two values are equal if and only if their texts are, and equal ones meet in a set."""
    assert (Sensitive(one) == Sensitive(other)) == (one == other)
    assert Sensitive(one) == Sensitive(one)
    assert len({Sensitive(one), Sensitive(one)}) == 1


@pytest.mark.parametrize("other", [PLAIN, PLAIN.encode(), None, 0, [PLAIN]])
def test_it_equals_no_plain_value(other: object) -> None:
    """A comparison with anything but another `Sensitive` is False from both sides, so it cannot be probed with text."""
    assert Sensitive(PLAIN) != other
    assert other != Sensitive(PLAIN)


def test_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equality is what `hmac.compare_digest` says of the whole texts, never a stop at the first difference."""
    compared: list[tuple[bytes, bytes]] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    assert Sensitive("left") != Sensitive("right")
    assert Sensitive("left") == Sensitive("left")
    assert compared == [(b"left", b"right"), (b"left", b"left")]


@given(st.text(min_size=22, max_size=60))
def test_a_fingerprint_tells_apart_and_shows_nothing(plain: str) -> None:
    """The fingerprint is 12 hex digits, the same for the same value, another for another, and no part of it."""
    fingerprint = Sensitive(plain).fingerprint()
    assert len(fingerprint) == 12
    assert set(fingerprint) <= set(string.hexdigits.lower())
    assert fingerprint == Sensitive(plain).fingerprint()
    assert fingerprint != Sensitive(plain + "x").fingerprint()
    assert fingerprint not in plain


def test_a_fingerprint_of_any_text_is_no_crash() -> None:
    """A text that UTF-8 cannot hold has a fingerprint too."""
    assert len(Sensitive("\ud800").fingerprint()) == 12
