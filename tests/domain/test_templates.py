"""Tests of file templates: a closed list of placeholders, and everything else is text or refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.sensitive import Sensitive
from fedid.domain.templates import PLACEHOLDERS, Placeholder, parse_template, render_template, token_names
from fedid.errors import InvalidSpecError

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
KNOWN = st.one_of(st.sampled_from(PLACEHOLDERS).map(Placeholder), NAMES.map(lambda name: Placeholder("token", name)))


def escaped(text: str) -> str:
    """Write a text so that a template means it."""
    return text.replace("{", "{{").replace("}", "}}")


@given(st.text(st.one_of(st.sampled_from("{}"), st.characters())))
def test_an_escaped_text_is_itself(text: str) -> None:
    """Whatever a file is to hold, doubling its braces makes the template that holds it."""
    assert render_template(parse_template(escaped(text), "f"), {}).reveal() == text


@given(st.lists(st.one_of(st.text(st.one_of(st.sampled_from("{}"), st.characters()), min_size=1), KNOWN)))
def test_placeholders_among_any_text_are_found_and_nothing_else_is(pieces: list[str | Placeholder]) -> None:
    """A template of escaped texts and placeholders yields those texts and those values in that order."""
    written = "".join(escaped(piece) if isinstance(piece, str) else str(piece) for piece in pieces)
    template = parse_template(written, "f")
    placeholders = [piece for piece in pieces if isinstance(piece, Placeholder)]
    assert [piece for piece in template if isinstance(piece, Placeholder)] == placeholders
    values = {placeholder: Sensitive(f"<{placeholder.name}>{{token}}") for placeholder in placeholders}
    expected = "".join(piece if isinstance(piece, str) else values[piece].reveal() for piece in pieces)
    assert render_template(template, values).reveal() == expected


@given(st.text(st.sampled_from("{}token:clientIda-. \n"), max_size=20))
def test_any_template_is_read_or_refused_with_its_field(text: str) -> None:
    """No text makes parsing crash; what is refused names the field, and what is read has known placeholders only."""
    try:
        template = parse_template(text, "spec.files[x]")
    except InvalidSpecError as error:
        told = error.message
    else:
        assert all(piece.name in PLACEHOLDERS for piece in template if isinstance(piece, Placeholder))
        return
    assert told.startswith("spec.files[x] has ")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("plain\ntext", ("plain\ntext",), id="text over several lines"),
        pytest.param("{token}", (Placeholder("token"),), id="the default token"),
        pytest.param("{token:audit-2}", (Placeholder("token", "audit-2"),), id="a named token"),
        pytest.param("a{clientId}b", ("a", Placeholder("clientId"), "b"), id="a placeholder within text"),
        pytest.param("{{", ("{",), id="a literal opening brace"),
        pytest.param("}}", ("}",), id="a literal closing brace"),
        pytest.param("{{token}}", ("{", "token", "}"), id="a placeholder that is escaped is text"),
        pytest.param("{{{token}}}", ("{", Placeholder("token"), "}"), id="a placeholder in literal braces"),
        pytest.param("{{{{", ("{", "{"), id="two literal braces"),
        pytest.param("{token}{token}", (Placeholder("token"), Placeholder("token")), id="one after the other"),
    ],
)
def test_a_template_is_texts_and_placeholders(text: str, pieces: tuple[str | Placeholder, ...]) -> None:
    """Doubled braces are literal, single ones hold a placeholder."""
    assert parse_template(text, "f") == pieces


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{password}", id="an unknown name"),
        pytest.param("{}", id="nothing"),
        pytest.param("{0}", id="a position"),
        pytest.param("{ token }", id="blanks within"),
        pytest.param("{Token}", id="another case"),
        pytest.param("{tokenss}", id="a longer name"),
        pytest.param("{token:}", id="a token without name"),
        pytest.param("{token:A}", id="a token name in upper case"),
        pytest.param("{token:-a}", id="a token name that begins with a dash"),
        pytest.param("{token:a-}", id="a token name that ends with a dash"),
        pytest.param("{token:a:b}", id="two token names"),
        pytest.param("{token:a\n}", id="a line break behind the token name"),
        pytest.param("{token\n}", id="a line break behind the name"),
        pytest.param("{token:a/../b}", id="a path as token name"),
        pytest.param("{clientSecret:a}", id="an argument where none is known"),
        pytest.param("{token.__class__}", id="an attribute"),
        pytest.param("{token.__class__.__mro__[1].__subclasses__}", id="attributes to the whole interpreter"),
        pytest.param("{token.reveal}", id="an attribute of our own"),
        pytest.param("{token[0]}", id="an index"),
        pytest.param("{token!r}", id="a conversion"),
        pytest.param("{token:>99999999}", id="a width that would take the memory"),
        pytest.param("{token:{clientId}}", id="a placeholder within a placeholder"),
        pytest.param("{{token}", id="an escaped opening brace with a lone closing one"),
        pytest.param("{token}}", id="a placeholder with a lone closing brace"),
        pytest.param("{", id="a lone opening brace"),
        pytest.param("}", id="a lone closing brace"),
        pytest.param("a { b", id="a lone opening brace within text"),
        pytest.param("}{", id="braces the wrong way round"),
        pytest.param('{"key": "{token}"}', id="JSON that was not escaped"),
        pytest.param("${{token}", id="a shell's braces, half escaped"),
    ],
)
def test_anything_else_in_braces_is_refused(text: str) -> None:
    """What is no placeholder is refused by name, never evaluated and never passed through."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_template(text, "spec.platform.generic.files[token]")
    assert caught.value.message.startswith("spec.platform.generic.files[token] has ")


def test_the_refusal_of_an_unknown_placeholder_lists_the_known_ones() -> None:
    """The author reads what is known and how to write a literal brace."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_template("{password}", "f")
    assert caught.value.message == (
        "f has {password}, which is no placeholder; known are {token}, {tokens}, {clientId}, {clientSecret}, "
        "{privateKey}, "
        "{keyId}, {subject}, {issuerUrl}, {tokenUrl}, {introspectionUrl}, {jwksUrl}, {tokenExpiresAt}, {token:<name>}; "
        "{{ is a literal brace"
    )


def test_the_refusal_of_a_lone_brace_says_how_to_write_it() -> None:
    """The author reads to double the brace."""
    with pytest.raises(InvalidSpecError, match=r"^f has a lone '}'; write '}}' for a literal brace$"):
        parse_template("a } b", "f")


def test_the_refusal_of_a_long_text_is_short() -> None:
    """A whole file between two braces does not become the message."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_template("{" + "x" * 10_000 + "}", "f")
    assert len(caught.value.message) < 400


def test_a_value_is_never_read_as_a_template() -> None:
    """Braces in a credential stay what they are."""
    values = {Placeholder("clientSecret"): Sensitive("{token}{{")}
    assert render_template(parse_template("s={clientSecret}", "f"), values).reveal() == "s={token}{{"


def test_a_placeholder_without_a_value_is_a_bug_and_not_an_empty_file() -> None:
    """Rendering never leaves a gap where a value is missing."""
    with pytest.raises(KeyError):
        render_template(parse_template("{token}", "f"), {})


def test_what_is_rendered_is_not_seen() -> None:
    """The file's text is a credential: it shows nothing by itself."""
    assert str(render_template(parse_template("x", "f"), {})) == "[redacted]"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("{clientId}", set(), id="no token"),
        pytest.param("{token}", {None}, id="the default one"),
        pytest.param("{tokenExpiresAt}", {None}, id="the expiry of the default one"),
        pytest.param("{token:a} {token:b} {token}", {"a", "b", None}, id="several"),
        pytest.param("{{token:a}}", set(), id="an escaped one is none"),
    ],
)
def test_the_tokens_of_a_template_are_known(text: str, names: set[str | None]) -> None:
    """A template says which tokens it mounts, None standing for the default one."""
    assert token_names(parse_template(text, "f")) == names


@given(KNOWN)
def test_a_placeholder_is_written_as_it_is_read(placeholder: Placeholder) -> None:
    """A placeholder's text is what an author writes."""
    assert parse_template(str(placeholder), "f") == (placeholder,)
    assert not set(str(placeholder)) - set(string.ascii_letters + string.digits + "{}:-")
