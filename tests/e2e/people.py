"""People: users with a password of their own, at a browser."""

from __future__ import annotations

import shutil
from typing import Any

from tests.consumers.consumer import Consumer, Consumers
from tests.e2e.authority import REALM
from tests.testbed.errors import StackError
from tests.testbed.stack import Stack

PASSWORD = "a pass phrase of her own"


def give_password(stack: Stack, user_id: str) -> None:
    """Do what a person does with the link in the first mail."""
    credential = {"type": "password", "value": PASSWORD, "temporary": False}
    stack.keycloak("PUT", f"/admin/realms/{REALM}/users/{user_id}/reset-password", credential)


class Browser:
    """A browser without a window, in the hands of a person."""

    def __init__(self, consumer: Consumer) -> None:
        """Take a running `programs/person.py`."""
        self._consumer = consumer

    @classmethod
    def start(cls, consumers: Consumers) -> Browser:
        """Start one with a profile of its own.

        Raises:
            StackError: There is none on this machine.
        """
        programs = [shutil.which("chromium"), shutil.which("chromedriver")]
        if None in programs:
            message = "People log in with a browser: install the Debian packages chromium and chromium-driver."
            raise StackError(message)
        arguments = [str(program) for program in programs]
        return cls(consumers.start("person", *arguments, str(consumers.folder / "profile")))

    def log_in(self, url: str, username: str) -> dict[str, Any]:
        """Open a page that leads to Keycloak's login as somebody whom it does not know, fill it in, say what came."""
        self._ask("forget")
        return self._ask("log_in", url=url, username=username, password=PASSWORD)

    def consent(self) -> dict[str, Any]:
        """Say yes to what a device asks for."""
        return self._ask("consent")

    def open(self, url: str) -> dict[str, Any]:
        """Open a page."""
        return self._ask("open", url=url)

    def _ask(self, do: str, **arguments: str) -> dict[str, Any]:
        answer = self._consumer.ask(do, **arguments)
        assert "error" not in answer, answer
        return answer
