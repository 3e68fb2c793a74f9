"""Tests of the generic platform: files from templates, byte for byte."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.conditions import Reason
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms import generic
from fedid.platforms.identity import MountedIdentity
from tests.platforms.samples import AUDIT, DEFAULT, trainer

GOLDEN = Path(__file__).parent / "golden" / "generic"
"""One folder per case: `files.yaml` as in the manifest, `mounted/` as a pod sees it."""


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_pod_mounts_the_golden_files(case: str) -> None:
    """What lies in the Secret is byte for byte what the golden files hold, no key more and none less."""
    files = yaml.safe_load((GOLDEN / case / "files.yaml").read_text(encoding="utf-8"))
    rendered = generic.render(trainer(default=DEFAULT, audit=AUDIT), files)
    mounted = {path.name: path.read_bytes() for path in (GOLDEN / case / "mounted").iterdir()}
    assert {key: value.reveal().encode() for key, value in rendered.items()} == mounted


def test_the_golden_config_is_json() -> None:
    """The template with doubled braces makes a file that a JSON reader takes."""
    config = json.loads((GOLDEN / "every_placeholder" / "mounted" / "config.json").read_text(encoding="utf-8"))
    assert config["client"] == "site-a.trainer"


def test_the_golden_templates_are_those_of_the_design_and_the_quickstart() -> None:
    """What the golden files show is what the example that users copy makes."""
    quickstart = (Path(__file__).parents[2] / "examples" / "quickstart.yaml").read_text(encoding="utf-8")
    files = yaml.safe_load((GOLDEN / "design_example" / "files.yaml").read_text(encoding="utf-8"))
    pods = [one for one in yaml.safe_load_all(quickstart) if one["kind"] == "PodIdentity"]
    assert files in [pod["spec"]["platform"]["generic"]["files"] for pod in pods]


def test_what_is_rendered_is_not_seen() -> None:
    """Every file is a credential, also one that holds none."""
    rendered = generic.render(trainer(default=DEFAULT), {"token": "{token}", "static": "x"})
    assert repr(rendered) == "{'token': [redacted], 'static': [redacted]}"


@pytest.mark.parametrize(
    ("identity", "template", "told"),
    [
        pytest.param(
            trainer(),
            "{token}",
            "spec.platform.generic.files[f] mounts {token}, and the bot's published tokens are: none. "
            "Name one of them as {token:<name>}, or add it to the BotClient's spec.tokens",
            id="a bot without tokens",
        ),
        pytest.param(
            trainer(other=DEFAULT, audit=AUDIT),
            "{token}",
            "mounts {token}, and the bot's published tokens are: audit, other. ",
            id="several tokens and none is the default",
        ),
        pytest.param(
            trainer(default=DEFAULT),
            "{clientId} {token:audit}",
            "mounts {token:audit}, and the bot's published tokens are: default. ",
            id="a token that the bot has not",
        ),
        pytest.param(
            trainer(other=DEFAULT, audit=AUDIT),
            "{tokenExpiresAt}",
            "mounts {tokenExpiresAt}, and the bot's published tokens are: audit, other. ",
            id="the expiry of no token",
        ),
    ],
)
def test_a_token_that_the_bot_has_not_is_named(identity: MountedIdentity, template: str, told: str) -> None:
    """Who mounts what is not there reads which file, what it wants, what there is, and what to write."""
    with pytest.raises(InvalidSpecError) as caught:
        generic.render(identity, {"f": template})
    assert told in caught.value.message
    assert caught.value.reason == Reason.TOKEN_MISSING


def test_the_only_token_is_the_default_one() -> None:
    """A bot with one token of any name fills `{token}` and `{tokenExpiresAt}` from it."""
    rendered = generic.render(trainer(audit=AUDIT), {"f": "{token} {tokenExpiresAt} {token:audit}"})
    text = AUDIT.token.reveal()
    assert rendered["f"].reveal() == f"{text} 2026-03-01T12:20:00Z {text}"


def test_a_bad_template_is_refused_with_its_file() -> None:
    """A template that means nothing names the file that it stands in."""
    with pytest.raises(InvalidSpecError, match=r"^spec\.platform\.generic\.files\[b\] has \{password\}"):
        generic.render(trainer(default=DEFAULT), {"a": "{token}", "b": "{password}"})


def test_no_files_are_no_files() -> None:
    """Nothing asked for is nothing made."""
    assert generic.render(trainer(), {}) == {}


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_files_without_placeholders_arrive_as_they_are(texts: dict[str, str]) -> None:
    """Any text, its braces doubled, is mounted as that text under its key."""
    files = {key: text.replace("{", "{{").replace("}", "}}") for key, text in texts.items()}
    rendered = generic.render(trainer(), files)
    assert {key: value.reveal() for key, value in rendered.items()} == texts


def test_what_a_bot_has_not_is_refused_with_what_to_write() -> None:
    """A key instead of a secret, a secret instead of a key, and with a ServiceAccount nothing secret at all."""
    secret = trainer(default=DEFAULT)
    signer = replace(secret, client_secret=None, private_key=Sensitive("PEM"), key_id="kid-1")
    keyless = replace(secret, client_secret=None, tokens={})
    rendered = generic.render(signer, {"f": "{privateKey} {keyId} {token}"})
    assert rendered["f"].reveal() == f"PEM kid-1 {DEFAULT.token.reveal()}"
    for identity, asked, told in (
        (signer, "{clientSecret}", "write {privateKey} and {keyId} instead"),
        (secret, "{privateKey}", "write {clientSecret} instead"),
        (secret, "{keyId}", "write {clientSecret} instead"),
        (keyless, "{token}", f"with the audience {secret.issuer_url}"),
        (keyless, "{clientSecret}", "nothing secret of it exists"),
        (keyless, "{tokenExpiresAt}", "nothing secret of it exists"),
    ):
        with pytest.raises(InvalidSpecError, match=re.escape(told)):
            generic.render(identity, {"f": asked})
