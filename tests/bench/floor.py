"""The floor: the same Keycloak calls as the operator makes for a bot, in a bare loop with nothing else to do."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from typing import Any

import aiohttp

from tests.testbed.stack import Stack

REALM = "fl"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def floor_seconds(stack: Stack, count: int, concurrency: int) -> float:
    """Return how long `count` bots take as bare calls: client, service account, role, token (seconds).

    Args:
        stack: Whose Keycloak; what is made there is removed again.
        count: How many.
        concurrency: Requests in flight.
    """
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        bare = _BareLoop(stack, session)
        await bare.log_in()
        todo = [uuid.uuid4() for _ in range(count)]
        started = time.perf_counter()
        await _each(todo, bare.make, concurrency)
        took = time.perf_counter() - started
        await _each(todo, bare.remove, concurrency)
        return took


class _BareLoop:
    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self._stack, self._session = stack, session
        self._url = f"{stack.keycloak_url}/admin/realms/{REALM}"
        self._token_url = f"{stack.keycloak_url}/realms/{REALM}/protocol/openid-connect/token"
        self._headers: dict[str, str] = {}
        self._role: dict[str, Any] = {}

    async def log_in(self) -> None:
        """Get the operator client's token and the role, as the operator has them beforehand."""
        assertion = self._stack.paths.operator_keycloak_token.read_text()
        token = await self._token(client_assertion_type=ASSERTION_TYPE, client_assertion=assertion)
        self._headers = {"Authorization": f"Bearer {token}"}
        async with self._session.get(f"{self._url}/roles/fl-client", headers=self._headers) as answer:
            self._role = await answer.json()

    async def make(self, client: uuid.UUID) -> None:
        """Make one client with a role and get a token of it."""
        secret = secrets.token_urlsafe(32)
        body = {
            "id": str(client),
            "clientId": f"floor.{client}",
            "secret": secret,
            "publicClient": False,
            "serviceAccountsEnabled": True,
            "standardFlowEnabled": False,
        }
        await self._send("POST", "/clients", body)
        async with self._session.get(
            f"{self._url}/clients/{client}/service-account-user", headers=self._headers
        ) as answer:
            account = (await answer.json())["id"]
        await self._send("POST", f"/users/{account}/role-mappings/realm", [self._role])
        await self._token(client_id=f"floor.{client}", client_secret=secret)

    async def remove(self, client: uuid.UUID) -> None:
        """Remove the client."""
        await self._send("DELETE", f"/clients/{client}", None)

    async def _send(self, method: str, path: str, body: object) -> None:
        async with self._session.request(method, self._url + path, json=body, headers=self._headers) as answer:
            answer.raise_for_status()

    async def _token(self, **client: str) -> str:
        form = {"grant_type": "client_credentials", **client}
        async with self._session.post(self._token_url, data=form) as answer:
            answer.raise_for_status()
            token: str = (await answer.json())["access_token"]
            return token


async def _each(todo: list[uuid.UUID], work: Any, concurrency: int) -> None:
    queue = list(todo)

    async def worker() -> None:
        while queue:
            await work(queue.pop())

    await asyncio.gather(*(worker() for _ in range(concurrency)))
