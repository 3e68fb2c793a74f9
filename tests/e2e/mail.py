"""A mail server that takes every mail and delivers none (RFC 5321, as much of it as one client needs)."""

from __future__ import annotations

import email
import email.policy
import quopri
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage

from tests.e2e.authority import REALM
from tests.testbed.stack import Stack


@dataclass(slots=True)
class Mailbox:
    """What came."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)

    def to(self, address: str) -> list[str]:
        """Return the texts of the mails to an address."""
        return [_text(mail) for mail in self.mails if address in mail["To"]]


class _Session(socketserver.StreamRequestHandler):
    """One connection of a client."""

    def handle(self) -> None:
        """Say yes to everything, and keep what follows DATA."""
        self._say("220 here")
        while line := self.rfile.readline():
            match line.split()[0].upper() if line.split() else b"":
                case b"EHLO" | b"HELO":
                    self._say("250 hello")
                case b"DATA":
                    self._say("354 go on")
                    self._keep()
                case b"QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 fine")

    def _keep(self) -> None:
        lines = []
        while (line := self.rfile.readline()) and line != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.server.mailbox.mails.append(mail)  # type: ignore[attr-defined]
        self._say("250 kept")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def mail_server(stack: Stack) -> Iterator[Mailbox]:
    """Start one and have the realm send through it; the realm has none before and after."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session) as server:
        server.daemon_threads = True
        mailbox = Mailbox(server.server_address[1])
        server.mailbox = mailbox  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        settings = {"host": "127.0.0.1", "port": str(mailbox.port), "from": "fedid@example.org"}
        stack.keycloak("PUT", f"/admin/realms/{REALM}", {"smtpServer": settings})
        try:
            yield mailbox
        finally:
            stack.keycloak("PUT", f"/admin/realms/{REALM}", {"smtpServer": {}})
            server.shutdown()
            thread.join()


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    payload = body.get_payload(decode=True)
    return payload.decode() if isinstance(payload, bytes) else quopri.decodestring(str(payload)).decode()
