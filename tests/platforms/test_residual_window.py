"""How far what was ended goes on being good at a platform that cannot be told: as the status says it."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.platforms.table import PLATFORMS, residual_window

GIT: dict[str, Any] = {"distribution": "Git"}
VAULT = {**GIT, "mode": "Vault", "vault": {"deployment": "42"}}
COPIED = {"flavour": "ApiKey", "username": "ana", "credentialsFrom": {"vaultPath": "bitfount/site-a"}}
NODE = {"superNode": {"superLink": {"url": "https://superlink.example.org:8000"}}}


@pytest.mark.parametrize(
    ("platform", "options", "role", "words"),
    [
        pytest.param("ai4flwr", GIT, "server", "finishes its rounds", id="a connection that is open"),
        pytest.param("ai4flwr", VAULT, "server", "started anew", id="what was read from Vault"),
        pytest.param("ai4flwr", {"distribution": "PyPI"}, "server", "started anew", id="one token at the start"),
        pytest.param("bitfount", COPIED, "client", "in the Bitfount Hub", id="nobody here can end it"),
        pytest.param("driverlessAi", {}, "server", "72 by default", id="sessions of its own"),
        pytest.param("flower", {"superLink": {"version": "1.41"}}, "server", "until its own end", id="access tokens"),
    ],
)
def test_what_goes_on_is_told(platform: str, options: dict[str, Any], role: str, words: str) -> None:
    """Where the platform's program cannot be told, the status says so in one sentence that fits the schema."""
    told = residual_window(platform, options, role)
    assert told is not None
    assert words in told
    assert len(told) <= 512


@pytest.mark.parametrize(
    ("platform", "options", "role"),
    [
        pytest.param("generic", {"files": {"a": "{tokens}"}}, "server", id="a program that reads its file"),
        pytest.param("ai4flwr", GIT, "client", id="the list is the server's"),
        pytest.param("aiod", {"apiServer": "https://api.aiodp.eu"}, "client", id="the API introspects"),
        pytest.param("flower", NODE, "client", id="refused at its next pull"),
        pytest.param("driverlessAi", {}, "client", id="the server introspects"),
    ],
)
def test_nothing_is_told_where_nothing_goes_on(platform: str, options: dict[str, Any], role: str) -> None:
    """The window is closed with the authority's refusal, or the bot's own condition tells it."""
    assert residual_window(platform, options, role) is None


def test_every_platform_was_thought_of() -> None:
    """A new one is named above, in one of the two lists."""
    assert set(PLATFORMS) == {"generic", "ai4flwr", "aiod", "bitfount", "driverlessAi", "flower"}
