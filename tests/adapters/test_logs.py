"""Tests of the logs: every credential that slips in is blotted out, and a record is never lost or broken by that."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.adapters.logs import BOT_SECRET_PREFIX, configure_logs, redacted
from fedid.domain.sensitive import REDACTED, Sensitive

JWT = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJzZXJ2aWNlIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"
BOT_SECRET = BOT_SECRET_PREFIX + "yq1Xw3Jt7Hk9_Zb-LmN2pQ4rS6tU8vW0"
VAULT_TOKEN = "hvs.CAESIJ0abcDEF123456789_-xyz"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nq83vEjRWeJ\n-----END RSA PRIVATE KEY-----"
CREDENTIALS = [
    pytest.param(JWT, JWT, id="a JWT"),
    pytest.param(JWT.rpartition(".")[0] + ".", JWT.rpartition(".")[0], id="a JWT without signature"),
    pytest.param(BOT_SECRET, BOT_SECRET, id="a bot secret"),
    pytest.param(VAULT_TOKEN, VAULT_TOKEN, id="a Vault service token"),
    pytest.param("hvb.AAAAAQLHMrkMvM", "AAAAAQLHMrkMvM", id="a Vault batch token"),
    pytest.param("hvr.AAAAAQLHMrkMvM", "AAAAAQLHMrkMvM", id="a Vault recovery token"),
    pytest.param(f"Authorization: Bearer {JWT}", JWT, id="a Bearer header with a JWT"),
    pytest.param("Authorization: Bearer 0paque/t0ken+=", "0paque/t0ken", id="a Bearer header with an opaque token"),
    pytest.param("authorization: bearer 0paque", "0paque", id="a bearer header in lower case"),
    pytest.param("AUTHORIZATION: BEARER 0paque", "0paque", id="a bearer header in upper case"),
    pytest.param("{'Authorization': 'Bearer 0paque'}", "0paque", id="a Bearer header in a printed dict"),
    pytest.param('{"Authorization": "Bearer 0paque"}', "0paque", id="a Bearer header in JSON"),
    pytest.param("Authorization: Basic dHJhaW5lcjpodXNo", "dHJhaW5lcjpodXNo", id="a Basic header"),
    pytest.param("authorization: BASIC dHJhaW5lcjpodXNo", "dHJhaW5lcjpodXNo", id="a Basic header in another case"),
    pytest.param(PEM, "q83vEjRWeJ", id="a private key over several lines"),
    pytest.param(PEM.replace("\n", "\\n"), "q83vEjRWeJ", id="a private key with escaped line breaks"),
    pytest.param(PEM.replace("RSA ", ""), "q83vEjRWeJ", id="a PKCS 8 private key"),
    pytest.param(PEM.partition("-----END")[0], "q83vEjRWeJ", id="a private key that was cut off"),
    pytest.param("client_secret=hush-1234&grant_type=x", "hush-1234", id="a form"),
    pytest.param("grant_type=x&client_secret=hush%20-1234", "hush%20-1234", id="the end of a form"),
    pytest.param('client_secret=hush" and more', "hush", id="a form in quotes"),
    pytest.param("{'client_secret': 'hush-1234', 'x': 1}", "hush-1234", id="a printed dict with a client secret"),
    pytest.param('{"client_secret": "hush-1234"}', "hush-1234", id="JSON with a client secret"),
    pytest.param('{"client_secret":"hush-1234"}', "hush-1234", id="dense JSON with a client secret"),
]


@dataclass(frozen=True)
class Holder:
    """A dataclass with a credential, as reconcilers pass them around."""

    name: str
    secret: Sensitive


@pytest.fixture
def log_of() -> Iterator[Callable[[str], io.StringIO]]:
    """Configure the process's logs for a style and return what they are written to; undone afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("fedid")
    before = (root.handlers[:], root.level, ours.level)

    def configured(style: str, level: str = "DEBUG") -> io.StringIO:
        configure_logs(level, style)
        (handler,) = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        stream = io.StringIO()
        handler.setStream(stream)
        return stream

    yield configured
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


class Unprintable:
    """Something whose text cannot be had."""

    def __repr__(self) -> str:
        """Fail, and say a credential while at it."""
        message = f"no text for {BOT_SECRET}"
        raise ValueError(message)


def _raise(text: str) -> None:
    raise RuntimeError(text)


def in_message(logger: logging.Logger, text: str) -> None:
    """Log it as the message."""
    logger.error(text.replace("%", "%%"), *())


def in_argument(logger: logging.Logger, text: str) -> None:
    """Log it as an argument."""
    logger.error("answer: %s", text)


def in_argument_repr(logger: logging.Logger, text: str) -> None:
    """Log it within a container that is printed."""
    logger.error("answer: %r", [text])


def in_details(logger: logging.Logger, text: str) -> None:
    """Log it as one of the details of a record."""
    logger.error("x", extra={"details": {"answer": text, "nested": {"a": [text]}, "none": None}})


def in_exception(logger: logging.Logger, text: str) -> None:
    """Log an exception that says it."""
    try:
        _raise(text)
    except RuntimeError:
        logger.exception("failed")


def in_cause(logger: logging.Logger, text: str) -> None:
    """Log an exception whose cause says it."""
    try:
        try:
            _raise(text)
        except RuntimeError as cause:
            message = "outer"
            raise ValueError(message) from cause
    except ValueError:
        logger.exception("failed")


WAYS = [in_message, in_argument, in_argument_repr, in_details, in_exception, in_cause]


@pytest.mark.parametrize(("text", "credential"), CREDENTIALS)
def test_a_credential_in_a_text_is_blotted_out(text: str, credential: str) -> None:
    """Whatever looks like a credential of this field is replaced, the text around it stays."""
    told = redacted(f"before {text}")
    assert credential not in told
    assert REDACTED in told
    assert told.startswith("before ")


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(("text", "credential"), CREDENTIALS)
def test_no_credential_reaches_the_log(
    log_of: Callable[[str], io.StringIO],
    style: str,
    way: Callable[[logging.Logger, str], None],
    text: str,
    credential: str,
) -> None:
    """In the message, its arguments, its details or an exception: in either format a credential is not in the log."""
    stream = log_of(style)
    way(logging.getLogger("fedid.test"), text)
    told = stream.getvalue()
    assert credential not in told
    assert REDACTED in told
    if style == "json":
        assert json.loads(told)["logger"] == "fedid.test"


@pytest.mark.parametrize("style", ["json", "text"])
def test_the_logs_of_libraries_pass_the_filter_too(log_of: Callable[[str], io.StringIO], style: str) -> None:
    """What a library logs is filtered like our own, from WARNING on."""
    stream = log_of(style)
    logging.getLogger("aiohttp.client").warning("sent %s", f"Bearer {JWT}")
    logging.getLogger("aiohttp.client").info("not told")
    assert JWT not in stream.getvalue()
    assert REDACTED in stream.getvalue()
    assert "not told" not in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Sensitive("hush"), id="by itself"),
        pytest.param(Holder("bot", Sensitive("hush")), id="within a dataclass"),
        pytest.param({"a": [Holder("bot", Sensitive("hush"))]}, id="deep within containers"),
        pytest.param(ValueError(Sensitive("hush")), id="within an exception"),
    ],
)
def test_a_sensitive_value_is_told_as_nothing(log_of: Callable[[str], io.StringIO], style: str, value: object) -> None:
    """A `Sensitive` in the details of a record does not cost the record, and is not seen."""
    stream = log_of(style)
    logging.getLogger("fedid.test").error("with %s", value, extra={"details": {"value": value}})
    assert "hush" not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) >= 2


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize(
    "log",
    [
        pytest.param(lambda logger: logger.error("%d", BOT_SECRET), id="an argument of the wrong type"),
        pytest.param(lambda logger: logger.error("%s " * 2, BOT_SECRET), id="an argument too few"),
        pytest.param(lambda logger: logger.error("%s", Unprintable()), id="an argument without a text"),
        pytest.param(
            lambda logger: logger.error("x", extra={"details": {"a": Unprintable()}}), id="a detail without a text"
        ),
        pytest.param(lambda logger: logger.error({(1, 2): BOT_SECRET}), id="a message that JSON cannot hold", marks=()),
    ],
)
def test_a_record_that_cannot_be_written_does_not_show_its_arguments(
    log_of: Callable[[str], io.StringIO],
    capsys: pytest.CaptureFixture[str],
    style: str,
    log: Callable[[logging.Logger], None],
) -> None:
    """The standard library prints the arguments of a record that it cannot format; here they are not seen anywhere."""
    stream = log_of(style)
    log(logging.getLogger("fedid.test"))
    captured = capsys.readouterr()
    assert BOT_SECRET not in stream.getvalue() + captured.err + captured.out
    assert captured.err == ""
    assert " fedid.test: " in stream.getvalue() or '"logger": "fedid.test"' in stream.getvalue()
    if style == "json":
        assert json.loads(stream.getvalue())["level"] == "ERROR"


def test_a_stream_that_is_closed_breaks_nothing(log_of: Callable[[str], io.StringIO]) -> None:
    """A log that cannot be written to is no reason to fail."""
    log_of("json").close()
    logging.getLogger("fedid.test").error("x")


def test_json_has_one_object_per_line(log_of: Callable[[str], io.StringIO]) -> None:
    """A record is one line with time, level, logger, message and its details; an exception is a field of it."""
    stream = log_of("json")
    logger = logging.getLogger("fedid.audit")
    logger.info("MintToken", extra={"details": {"token": "default", "count": 2, "fields": ["a"], "none": None}})
    in_exception(logger, "two\nlines")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("time").endswith("+0000")
    assert first == {
        "level": "INFO",
        "logger": "fedid.audit",
        "message": "MintToken",
        "details": {"token": "default", "count": 2, "fields": ["a"], "none": None},
    }
    assert second["message"] == "failed"
    assert "RuntimeError: two\nlines" in second["exc_info"]


def test_text_is_for_people(log_of: Callable[[str], io.StringIO]) -> None:
    """A line of text holds level, logger and message, then the details that say something."""
    stream = log_of("text")
    logging.getLogger("fedid.audit").info("MintToken", extra={"details": {"token": "default", "none": None}})
    assert stream.getvalue().endswith(" INFO    fedid.audit: MintToken token=default\n")


@pytest.mark.parametrize("style", ["json", "text"])
def test_the_level_is_ours_alone(log_of: Callable[[str, str], io.StringIO], style: str) -> None:
    """Our own messages are told from the level that is set, those of libraries from WARNING."""
    stream = log_of(style, "ERROR")
    logging.getLogger("fedid.x").warning("quiet")
    logging.getLogger("kopf").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "BotClient/site-a/trainer: pass done in 0.2 s",
        "Vault path fedid/site-a/bots/trainer/client",
        "client_id=site-a.trainer",
        "uid 3d1b6c7e-0000-4000-8000-000000000001",
        "eyJ is how they begin",
        "the prefix fbs_ marks them",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "secretName fedid-keycloak",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    """What is no credential is told in full."""
    assert redacted(text) == text


@settings(deadline=None)
@given(st.text(), st.sampled_from([JWT, BOT_SECRET, VAULT_TOKEN]), st.text())
def test_a_credential_among_any_text_is_blotted_out(before: str, credential: str, after: str) -> None:
    """Whatever surrounds a credential, it is not in the result, and a second filter changes nothing."""
    told = redacted(f"{before} {credential} {after}")
    assert credential not in told
    assert redacted(told) == told


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=50)
@given(message=st.text(), details=st.dictionaries(st.text(), JSON), tail=st.sampled_from([PEM[:40], "Bearer ", '"\\']))
def test_every_record_is_json(message: str, details: dict[str, Any], tail: str) -> None:
    """Whatever is logged, the line is one JSON object that holds what was not blotted out."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("fedid").level)
    try:
        configure_logs("DEBUG", "json")
        formatter = root.handlers[0].formatter
    finally:
        root.handlers[:], level, our_level = before
        root.setLevel(level)
        logging.getLogger("fedid").setLevel(our_level)
    assert formatter is not None
    record = logging.LogRecord("fedid.x", logging.INFO, __file__, 1, "%s", (message + tail,), None)
    record.details = details
    line = formatter.format(record)
    assert "\n" not in line
    assert set(json.loads(line)) == {"time", "level", "logger", "message", "details"}
    assert set(json.loads(line)["details"]) == set(details)
