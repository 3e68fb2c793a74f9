"""Tests of what sidecars say, as a value, and of the fingerprint that it is about."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.content_digest import content_digest
from fedid.domain.reload_report import Loaded, ProcessState, loaded_from, report_of
from fedid.domain.sensitive import Sensitive
from fedid.reconcile.pod_secret import digest

GOOD: dict[str, Any] = {"hash": "0123456789abcdef", "mounted": None, "process": "loaded"}


@pytest.mark.parametrize("state", ProcessState)
@pytest.mark.parametrize("known", [None, "0123456789abcdef"])
def test_what_is_written_is_what_is_read(state: ProcessState, known: str | None) -> None:
    """Whatever a sidecar knows arrives."""
    loaded = Loaded(known, "f" * 16, state)
    assert loaded_from(report_of(loaded)) == loaded


@pytest.mark.parametrize(
    "report",
    [
        None,
        [],
        "loaded",
        {},
        GOOD | {"hash": "0123456789ABCDEF"},
        GOOD | {"hash": "0123456789abcdef\n"},
        GOOD | {"mounted": 7},
        GOOD | {"mounted": "a" * 1000},
        GOOD | {"process": "Loaded"},
        GOOD | {"process": None},
        GOOD | {"process": ["loaded"]},
    ],
)
def test_what_is_no_report_is_refused(report: object) -> None:
    """Nothing of a stranger's answer is taken over that is not exactly as expected."""
    assert loaded_from(report) is None


def test_both_sides_make_the_same_fingerprint() -> None:
    """The operator of the values that it writes, the sidecar of the bytes of the files."""
    files = {"b": "two\n", "a": "ü", "empty": ""}
    secret = {key: Sensitive(value) for key, value in files.items()}
    assert digest(secret) == content_digest({key: value.encode() for key, value in files.items()})
    assert digest(dict(reversed(secret.items()))) == digest(secret)


@pytest.mark.parametrize(
    "other", [{"a": b"1"}, {"a": b"2", "b": b""}, {"b": b"", "a": b"1", "c": b""}, {"a": b"", "b": b"1"}, {}]
)
def test_each_file_counts(other: dict[str, bytes]) -> None:
    """Its name as well as its content."""
    assert content_digest(other) != content_digest({"a": b"1", "b": b""})
