"""Every credential that the run makes, learned from what the operator says to its backends, and where none may be."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.e2e.operating import Proxies
from tests.e2e.running import Operator
from tests.e2e.tenancy import PLURALS
from tests.testbed.faults import Spoken
from tests.testbed.stack import Stack

_NAMED = frozenset(
    {
        "access_token",
        "client_assertion",
        "client_secret",
        "client_token",
        "id_token",
        "jwt",
        "password",
        "pending_private_key",
        "previous_client_secret",
        "previous_private_key",
        "private_key",
        "refresh_token",
        "secret",
        "token",
    }
)
"""Fields, of JSON or of a form, whose values are credentials."""
_SHORTEST = 16
"""Characters; shorter values are words, and no credential is as short."""


class Ledger:
    """What was learned: credentials, and every text that the operator gave to the API server."""

    def __init__(self, stack: Stack) -> None:
        """Start with the credentials that the stack was made with."""
        known = stack.credentials
        self._stack = stack
        self._credentials = {known.superlink_client_secret}
        self._credentials |= {known.keycloak_admin_password, known.kubernetes_admin_token, stack.vault_keys.root_token}
        paths = stack.paths
        tokens = (paths.operator_token, paths.operator_vault_token, paths.operator_keycloak_token)
        self._credentials |= {path.read_text().strip() for path in tokens}
        self._told: list[str] = []

    def listen(self, proxies: Proxies) -> None:
        """Learn from everything that passes the proxies from now on."""
        proxies.keycloak.overhear(self._learn, answers=True)
        proxies.vault.overhear(self._learn, answers=True)
        proxies.kubernetes.overhear(self._note, answers=False)

    def __len__(self) -> int:
        """Return how many credentials are known."""
        return len(self._credentials)

    def add(self, *credentials: str) -> None:
        """Learn credentials that no proxy saw."""
        self._credentials.update(credentials)

    def __contains__(self, credential: str) -> bool:
        """Tell whether a credential is known."""
        return credential in self._credentials

    def assert_none_in(self, texts: Mapping[str, str]) -> None:
        """Assert that no known credential, plain or in base64, is in any of the texts (by where they are from)."""
        for where, text in texts.items():
            found = [needle for needle in self._needles() if needle in text]
            # Never the credential itself: this message ends in a log, too.
            around = [text[max(text.index(one) - 200, 0) : text.index(one)] for one in found[:3]]
            assert not found, f"{len(found)} credentials in {where}; before them: {around}"

    def texts(self, operator: Operator) -> dict[str, str]:
        """Return everything that the operator said or left where people look, by where that is."""
        found = {
            "what the operator printed": operator.output(),
            "what the operator told the API server": "\n".join(self._told),
            "the Events": json.dumps(self._stack.kube("GET", "/api/v1/events")["items"]),
        }
        for kind, plural in {**PLURALS, "RevocationReceipt": "revocationreceipts"}.items():
            found[kind] = json.dumps(self._stack.kube("GET", f"/apis/fedid.io/v1alpha1/{plural}")["items"])
        if operator.running:
            found["the metrics"] = operator.metrics()
            for name in ("cmdline", "environ"):
                found[f"the process's {name}"] = Path(f"/proc/{operator.pid}/{name}").read_text()
        return found

    def _needles(self) -> Iterator[str]:
        for credential in self._credentials:
            # Of a JWT the signature: a text without it is no credential, one with only that too much.
            needle = credential.rpartition(".")[2] if credential.startswith("eyJ") else credential
            if credential.startswith("-----BEGIN"):
                needle = credential.splitlines()[1]  # however its lines are told apart
            yield needle
            yield base64.b64encode(needle.encode()).decode().rstrip("=")[:-1]

    def _learn(self, spoken: Spoken) -> None:
        self._learn_headers(spoken)
        for body in (spoken.sent, spoken.answered):
            self._credentials.update(one for one in _credentials_in(body) if len(one) >= _SHORTEST)

    def _note(self, spoken: Spoken) -> None:
        """Keep what is written; credentials are only meant for Secrets."""
        self._learn_headers(spoken)
        if spoken.sent and "/secrets" not in spoken.path:
            self._told.append(f"{spoken.method} {spoken.path} {spoken.sent.decode(errors='replace')}")

    def _learn_headers(self, spoken: Spoken) -> None:
        for header in ("authorization", "x-vault-token"):
            if value := spoken.headers.get(header, "").removeprefix("Bearer ").strip():
                self._credentials.add(value)


def _credentials_in(body: bytes) -> Iterator[str]:
    text = body.decode(errors="replace")
    with suppress(ValueError):
        yield from _named_in(json.loads(text))
        return
    for name, value in urllib.parse.parse_qsl(text):
        if name in _NAMED:
            yield value


def _named_in(found: Any) -> Iterator[str]:
    match found:
        case dict():
            for name, value in found.items():
                if isinstance(value, str) and name in _NAMED:
                    yield value
                yield from _named_in(value)
        case list():
            for one in found:
                yield from _named_in(one)
