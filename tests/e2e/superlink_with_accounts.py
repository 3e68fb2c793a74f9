"""A SuperLink of Flower that asks Keycloak who calls: run by the Python of Flower's environment, never by ours.

Flower's own plugin for OpenID Connect is a part of Flower Enterprise, so this one is of the tests: it introspects the
access token (RFC 7662) and takes the subject for the account. Who is in which of Flower's federations is managed there
too; here every account is a member of the only one. All else is `flower-superlink`.

Environment: INTROSPECTION_URL, CLIENT_ID, CLIENT_SECRET.
"""

import importlib
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from flwr.common.constant import ACCESS_TOKEN_KEY
from flwr.supercore.auth.typing import AccountInfo
from flwr.superlink.auth_plugin import ControlAuthnPlugin
from flwr.superlink.federation import NoOpFederationManager


class Introspecting(ControlAuthnPlugin):
    """Takes whom Keycloak calls active."""

    def __init__(self) -> None:
        """Start."""

    def get_login_details(self) -> None:
        """Let nobody log in: bots have their tokens."""

    def validate_tokens_in_metadata(self, metadata: Sequence[tuple[str, Any]]) -> tuple[bool, AccountInfo | None]:
        """Ask Keycloak about the token."""
        token = dict(metadata).get(ACCESS_TOKEN_KEY)
        if not token:
            return False, None
        form = {"token": token, "client_id": os.environ["CLIENT_ID"], "client_secret": os.environ["CLIENT_SECRET"]}
        body = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(os.environ["INTROSPECTION_URL"], body, timeout=20) as answer:  # noqa: S310
            told = json.load(answer)
        if not told.get("active"):
            return False, None
        return True, AccountInfo(flwr_aid=told["sub"], account_name=told["client_id"])

    def get_auth_tokens(self, device_code: str) -> None:
        """Let nobody log in."""

    def refresh_tokens(self, metadata: Sequence[tuple[str, Any]]) -> tuple[None, None]:
        """Refresh nothing: what is mounted is kept fresh."""
        del metadata
        return None, None


def _is_member(manager: NoOpFederationManager, flwr_aid: str, federation_id: str) -> bool:
    """Let everybody run apps whom Keycloak knows."""
    return bool(flwr_aid) and manager.exists(federation_id)


NoOpFederationManager.has_member = _is_member
program: Any = importlib.import_module("flwr.superlink.cli.flower_superlink")
program.load_control_authn_plugin = Introspecting
program.flower_superlink()
