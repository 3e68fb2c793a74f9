"""Tests of the settings: a table of what the environment may say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.domain.receipt import ReceiptLimits
from fedid.errors import InvalidSpecError
from fedid.settings import Settings, settings_from

NAMESPACE = {"FEDID_NAMESPACE": "here", "FEDID_REPLICA": "a"}
DEFAULTS = Settings(
    namespace="here",
    watch_namespaces=(),
    vault_token_path=Path("/var/run/secrets/fedid/vault/token"),
    keycloak_token_path=Path("/var/run/secrets/fedid/keycloak/token"),
    health_host="0.0.0.0",  # noqa: S104 - what the kubelet needs
    health_port=8080,
    log_level="INFO",
    log_format="json",
    workers=16,
    stop_grace=timedelta(seconds=20),
    replica="a",
    lease=timedelta(seconds=15),
    force_release=False,
    receipts=ReceiptLimits(keep=5000, max_age=timedelta(hours=8760)),
    relist_period=timedelta(minutes=10),
    identity_metrics=False,
)
NUMBERS = {
    "FEDID_HEALTH_PORT": (1, 65535),
    "FEDID_WORKERS": (1, 256),
    "FEDID_STOP_GRACE_SECONDS": (0, 600),
    "FEDID_LEASE_SECONDS": (6, 300),
    "FEDID_RECEIPTS_KEEP": (100, 100_000),
    "FEDID_RECEIPTS_MAX_AGE_HOURS": (1, 876_000),
    "FEDID_RELIST_SECONDS": (10, 86400),
}
CHOICES = {
    "FEDID_LOG_LEVEL": "INFO, DEBUG, WARNING, ERROR",
    "FEDID_LOG_FORMAT": "json, text",
    "FEDID_FORCE_RELEASE": "false, true",
    "FEDID_IDENTITY_METRICS": "false, true",
}


def test_an_empty_environment_has_the_documented_defaults() -> None:
    """Nothing set is the defaults that the docstrings of `Settings` promise."""
    assert settings_from(NAMESPACE) == DEFAULTS


@pytest.mark.skipif(
    Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").exists(), reason="this test runs in a pod"
)
def test_outside_a_pod_the_namespace_is_that_of_the_chart() -> None:
    """Without a setting and without a ServiceAccount the operator lives in `fedid-system`."""
    assert settings_from({}).namespace == "fedid-system"
    assert settings_from({"FEDID_NAMESPACE": ""}).namespace == "fedid-system"


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        pytest.param("FEDID_NAMESPACE", "there", {"namespace": "there"}, id="the own namespace"),
        pytest.param("FEDID_WATCH_NAMESPACES", "a", {"watch_namespaces": ("a",)}, id="one namespace to watch"),
        pytest.param("FEDID_WATCH_NAMESPACES", "a,b", {"watch_namespaces": ("a", "b")}, id="two namespaces"),
        pytest.param("FEDID_WATCH_NAMESPACES", " a , b ", {"watch_namespaces": ("a", "b")}, id="blanks around them"),
        pytest.param("FEDID_WATCH_NAMESPACES", ",a,,", {"watch_namespaces": ("a",)}, id="commas without a name"),
        pytest.param("FEDID_WATCH_NAMESPACES", "", {}, id="no namespace is all namespaces"),
        pytest.param("FEDID_WATCH_NAMESPACES", " , ", {}, id="blanks are no namespace"),
        pytest.param("FEDID_VAULT_TOKEN_PATH", "/t", {"vault_token_path": Path("/t")}, id="the token for Vault"),
        pytest.param("FEDID_KEYCLOAK_TOKEN_PATH", "/t", {"keycloak_token_path": Path("/t")}, id="that for Keycloak"),
        pytest.param("FEDID_HEALTH_HOST", "127.0.0.1", {"health_host": "127.0.0.1"}, id="the address of probes"),
        pytest.param("FEDID_HEALTH_PORT", "1", {"health_port": 1}, id="the lowest port"),
        pytest.param("FEDID_HEALTH_PORT", "65535", {"health_port": 65535}, id="the highest port"),
        pytest.param("FEDID_LOG_LEVEL", "debug", {"log_level": "DEBUG"}, id="a level in lower case"),
        pytest.param("FEDID_LOG_LEVEL", "Warning", {"log_level": "WARNING"}, id="a level in mixed case"),
        pytest.param("FEDID_LOG_FORMAT", "TEXT", {"log_format": "text"}, id="a format in upper case"),
        pytest.param("FEDID_WORKERS", "1", {"workers": 1}, id="the fewest workers"),
        pytest.param("FEDID_WORKERS", "256", {"workers": 256}, id="the most workers"),
        pytest.param("FEDID_WORKERS", "008", {"workers": 8}, id="leading zeros are decimal"),
        pytest.param("FEDID_WORKERS", "", {}, id="an empty number is the default"),
        pytest.param("FEDID_STOP_GRACE_SECONDS", "0", {"stop_grace": timedelta()}, id="no grace"),
        pytest.param("FEDID_STOP_GRACE_SECONDS", "600", {"stop_grace": timedelta(minutes=10)}, id="the longest grace"),
        pytest.param("FEDID_REPLICA", "fedid-0/5f-a.b_c", {"replica": "fedid-0/5f-a.b_c"}, id="the replica's name"),
        pytest.param("FEDID_LEASE_SECONDS", "6", {"lease": timedelta(seconds=6)}, id="the shortest lease"),
        pytest.param("FEDID_FORCE_RELEASE", "True", {"force_release": True}, id="objects may be given up"),
        pytest.param("FEDID_IDENTITY_METRICS", "true", {"identity_metrics": True}, id="metrics that name identities"),
        pytest.param(
            "FEDID_RECEIPTS_KEEP", "100", {"receipts": replace(DEFAULTS.receipts, keep=100)}, id="the fewest receipts"
        ),
        pytest.param(
            "FEDID_RECEIPTS_MAX_AGE_HOURS",
            "1",
            {"receipts": replace(DEFAULTS.receipts, max_age=timedelta(hours=1))},
            id="receipts of an hour",
        ),
        pytest.param("FEDID_RELIST_SECONDS", "10", {"relist_period": timedelta(seconds=10)}, id="the shortest period"),
        pytest.param("FEDID_RELIST_SECONDS", "86400", {"relist_period": timedelta(days=1)}, id="the longest period"),
        pytest.param("FEDID_UNKNOWN", "x", {}, id="a variable that we do not know"),
    ],
)
def test_a_variable_sets_its_setting(name: str, text: str, changes: dict[str, Any]) -> None:
    """Each variable changes its own setting and nothing else."""
    assert settings_from({**NAMESPACE, name: text}) == replace(DEFAULTS, **changes)


def test_every_process_has_a_name_of_its_own() -> None:
    """Unless it is told one; two of one name could both lead."""
    names = {settings_from({}).replica for _ in range(20)}
    assert len(names) == 20


@pytest.mark.parametrize("name", ["a b", "-a", "a-", "a\r\nb", "\u00e4", "a" * 129, "(a)"])
def test_a_name_that_is_no_plain_text_is_refused(name: str) -> None:
    """It is sent to each backend in a header."""
    with pytest.raises(InvalidSpecError, match="FEDID_REPLICA"):
        settings_from({"FEDID_REPLICA": name})


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("lowest - 1", id="one too few"),
        pytest.param("highest + 1", id="one too many"),
        pytest.param("-1", id="negative"),
        pytest.param("+1", id="a sign"),
        pytest.param("1.5", id="a fraction"),
        pytest.param("20s", id="a unit"),
        pytest.param("ten", id="a word"),
        pytest.param("1_0", id="an underscore, which Python would take"),
        pytest.param(" 10", id="a blank, which Python would take"),
        pytest.param("\u0661\u0662", id="digits of another script, which Python would take"),
        pytest.param("0" * 5000 + "1", id="more digits than Python takes"),
        pytest.param("9" * 5000, id="a number beyond all bounds"),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_its_bounds(name: str, text: str) -> None:
    """The message names the variable, shows the text and says both bounds."""
    lowest, highest = NUMBERS[name]
    text = {"lowest - 1": str(lowest - 1), "highest + 1": str(highest + 1)}.get(text, text)
    with pytest.raises(InvalidSpecError) as caught:
        settings_from({**NAMESPACE, name: text})
    assert caught.value.message.startswith(f"{name} is {text!r}")
    assert caught.value.message.endswith(f"set a whole number from {lowest} to {highest}")


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_a_word_that_is_no_choice_is_refused_with_the_choices(name: str) -> None:
    """The message names the variable and lists what may be set."""
    with pytest.raises(InvalidSpecError) as caught:
        settings_from({**NAMESPACE, name: "loud"})
    assert caught.value.message == f"{name} is 'loud'; set one of {CHOICES[name]}"


@settings(deadline=None)
@given(st.sampled_from(sorted(NUMBERS)), st.integers(-10, 100_000))
def test_a_number_is_taken_exactly_within_its_bounds(name: str, number: int) -> None:
    """Every number within the bounds is a setting, every other one is refused."""
    lowest, highest = NUMBERS[name]
    try:
        settings_from({**NAMESPACE, name: str(number)})
    except InvalidSpecError:
        taken = False
    else:
        taken = True
    assert taken is (lowest <= number <= highest)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*NUMBERS, *CHOICES, "FEDID_WATCH_NAMESPACES"]), st.text()))
def test_no_environment_makes_it_crash(environment: dict[str, str]) -> None:
    """Whatever is set, there are settings or one sentence that names a variable."""
    try:
        settings_from({**NAMESPACE, **environment})
    except InvalidSpecError as error:
        told = error.message
    else:
        return
    assert told.startswith("FEDID_")
