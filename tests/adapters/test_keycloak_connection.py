"""How the Keycloak adapter talks: one token for all, one renewal after a 401, few calls, nothing past our transport."""

from __future__ import annotations

import asyncio
import gc
import traceback
import warnings
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import jwt
import pytest
from aiohttp import web

from fedid.adapters.keycloak import KeycloakRealm
from fedid.adapters.transport import Transport
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError
from tests.adapters.http_servers import web_server

SECRET = "operator-secret-that-nobody-may-see"
TOKEN_PATH = "/realms/fl/protocol/openid-connect/token"
ADMIN = "/admin/realms/fl"
ISSUED_AT = 1_800_000_000


class ScriptedKeycloak:
    """A server that answers like Keycloak, as far as these tests go."""

    def __init__(self) -> None:
        """Know a few roles."""
        self.calls: Counter[str] = Counter()
        """Requests by method and path."""
        self.valid: set[str] = set()
        self.issued = 0
        self.lives_seconds = 300
        self.roles = {"one": "id-1", "two": "id-2"}
        self.groups = {"sites": "id-3"}
        self.answers: dict[str, tuple[int, object]] = {}
        """What to answer to a method and path instead."""

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one request."""
        what = f"{request.method} {request.path}"
        self.calls[what] += 1
        if what in self.answers:
            status, body = self.answers[what]
            return web.Response(status=status, text=body) if isinstance(body, str) else _json(status, body)
        if request.path == TOKEN_PATH:
            return await self._token(request)
        known = request.headers.get("Authorization", "").removeprefix("Bearer ") in self.valid
        await asyncio.sleep(0.3 if request.path.endswith("/slow") else 0.01)
        if not known:
            return _json(401, {"error": "HTTP 401 Unauthorized"})
        return self._admin(request)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["client_secret"] != SECRET:
            words = "Invalid client or Invalid client credentials"
            return _json(401, {"error": "unauthorized_client", "error_description": words})
        await asyncio.sleep(0.01)
        self.issued += 1
        claims = {"iat": ISSUED_AT, "jti": str(self.issued)}
        token = jwt.encode(claims, "k" * 32, "HS256")
        self.valid.add(token)
        return _json(200, {"access_token": token, "expires_in": self.lives_seconds})

    def _admin(self, request: web.Request) -> web.Response:
        if request.path == f"{ADMIN}/roles":
            first, size = int(request.query["first"]), int(request.query["max"])
            page = list(self.roles.items())[first : first + size]
            return _json(200, [{"id": role_id, "name": name, "composite": False} for name, role_id in page])
        if request.path.startswith(f"{ADMIN}/group-by-path/"):
            group_id = self.groups.get(request.path.removeprefix(f"{ADMIN}/group-by-path/"))
            if group_id is None:
                return _json(404, {"error": "Group path does not exist"})
            return _json(200, {"id": group_id})
        return _json(200, {"id": "1", "clientId": "c"})


def _json(status: int, body: object) -> web.Response:
    return web.json_response(body, status=status)


class Ticks:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        """Start anywhere."""
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """Return the reading."""
        return self.seconds


@asynccontextmanager
async def realm(
    keycloak: ScriptedKeycloak, ticks: Ticks | None = None, secret: str = SECRET
) -> AsyncIterator[KeycloakRealm]:
    """Yield an adapter for the scripted server."""
    async with web_server(keycloak.serve) as url:
        adapter = KeycloakRealm(
            Transport("keycloak", url, monotonic=(ticks or Ticks()).monotonic),
            "fl",
            "https://keycloak.test/realms/fl",
            ClientCredentials("fedid-operator", Sensitive(secret)),
        )
        try:
            yield adapter
        finally:
            await adapter.aclose()


class TestOwnToken:
    """The operator's own token."""

    async def test_single_flight(self) -> None:
        """Two hundred who need a token at the same time share one request for it."""
        keycloak = ScriptedKeycloak()
        async with realm(keycloak) as adapter:
            await asyncio.gather(*(adapter.read_client(str(n)) for n in range(200)))
        assert keycloak.issued == 1

    async def test_replaced_in_time(self) -> None:
        """A token is used for four fifths of its life, then replaced, once."""
        keycloak, ticks = ScriptedKeycloak(), Ticks()
        async with realm(keycloak, ticks) as adapter:
            await adapter.read_client("1")
            ticks.seconds += 239
            await adapter.read_client("1")
            assert keycloak.issued == 1
            ticks.seconds += 2
            await asyncio.gather(*(adapter.read_client(str(n)) for n in range(20)))
            assert keycloak.issued == 2

    async def test_refused_token(self) -> None:
        """A token that Keycloak does not know any more is replaced, once for all, and nothing fails."""
        keycloak = ScriptedKeycloak()
        async with realm(keycloak) as adapter:
            await adapter.read_client("1")
            keycloak.valid.clear()
            found = await asyncio.gather(*(adapter.read_client(str(n)) for n in range(20)))
            assert None not in found
            assert keycloak.issued == 2

    async def test_refused_late(self) -> None:
        """Who hears late that the old token is refused uses the one that others have got meanwhile."""
        keycloak = ScriptedKeycloak()
        async with realm(keycloak) as adapter:
            await adapter.read_client("1")
            keycloak.valid.clear()
            slow = asyncio.create_task(adapter.read_client("slow"))
            await asyncio.sleep(0.05)
            await adapter.read_client("1")
            assert not slow.done()
            assert await slow is not None
            assert keycloak.issued == 2

    async def test_refused_again(self) -> None:
        """A fresh token that is refused is not replaced for ever."""
        keycloak = ScriptedKeycloak()
        keycloak.answers[f"PUT {ADMIN}/users/1/groups/2"] = (401, {"error": "HTTP 401 Unauthorized"})
        async with realm(keycloak) as adapter:
            with pytest.raises(BackendDeniedError, match="does not accept it"):
                await adapter.join_group("1", "2")
        assert keycloak.calls[f"PUT {ADMIN}/users/1/groups/2"] == 2
        assert keycloak.issued == 2

    async def test_refused_client(self) -> None:
        """A wrong secret is told as such, naming client and Secret, and is in no traceback."""
        async with realm(ScriptedKeycloak(), secret="wrong-secret-of-the-operator") as adapter:
            with pytest.raises(BackendDeniedError, match=r"fedid-operator \(invalid_client\).*client-secret") as caught:
                await adapter.read_client("1")
        assert "wrong-secret" not in "".join(traceback.format_exception(caught.value))

    async def test_server_clock(self) -> None:
        """The first token tells Keycloak's time; before it there is none."""
        ticks = Ticks()
        async with realm(ScriptedKeycloak(), ticks) as adapter:
            with pytest.raises(BackendUnavailableError):
                adapter.server_now()
            await adapter.read_client("1")
            ticks.seconds += 10
            assert adapter.server_now().timestamp() == ISSUED_AT + 10
            assert adapter.server_now_at_most().timestamp() == ISSUED_AT + 11


class TestAnswers:
    """Answers that are not what was hoped for."""

    @pytest.mark.parametrize(
        ("status", "body"), [(200, f"<html>{SECRET}"), (200, ""), (404, f"<html>{SECRET}"), (404, ""), (404, "[]")]
    )
    async def test_other_page(self, status: int, body: str) -> None:
        """A page that is not Keycloak's is an error of our own, without the page in it, and never "gone"."""
        keycloak = ScriptedKeycloak()
        keycloak.answers[f"GET {ADMIN}/clients/1"] = (status, body)
        async with realm(keycloak) as adapter:
            with pytest.raises(BackendRejectedError, match="check") as caught:
                await adapter.read_client("1")
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(("status", "body"), [(404, "404 page not found"), (200, "<html>"), (200, {"a": "b"})])
    async def test_no_keycloak_at_all(self, status: int, body: object) -> None:
        """A URL behind which something else lies is told as such, and not as a realm that is missing."""
        keycloak = ScriptedKeycloak()
        keycloak.answers["GET /realms/fl/.well-known/openid-configuration"] = (status, body)
        async with realm(keycloak) as adapter:
            with pytest.raises(BackendRejectedError, match="check") as caught:
                await adapter.probe()
        assert caught.value.reason != "RealmNotFound"

    async def test_body_of_an_error(self) -> None:
        """The body of a refusal is in no traceback, only Keycloak's own words are told."""
        keycloak = ScriptedKeycloak()
        keycloak.answers[f"DELETE {ADMIN}/users/1"] = (400, {"errorMessage": "no way", "secret": SECRET})
        async with realm(keycloak) as adapter:
            with pytest.raises(BackendRejectedError, match="no way") as caught:
                await adapter.delete_user("1")
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("status", [401, 403])
    async def test_proof_is_keycloaks(self, status: int) -> None:
        """Whether a token is good is for Keycloak to say, not for a proxy before it."""
        keycloak = ScriptedKeycloak()
        keycloak.answers[f"GET {ADMIN}"] = (status, "<html>please log in</html>")
        async with realm(keycloak) as adapter:
            with pytest.raises(BackendRejectedError, match="in another form"):
                await adapter.token_accepted(Sensitive("token"))
            keycloak.answers[f"GET {ADMIN}"] = (status, {"error": f"HTTP {status}"})
            assert await adapter.token_accepted(Sensitive("token")) is (status == 403)

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (400, {"error": "invalid_scope", "error_description": "Invalid scopes"}),
            (
                401,
                {"error": "unauthorized_client", "error_description": "Client not enabled to retrieve service account"},
            ),
            (401, {"error": "invalid_request", "error_description": "User disabled"}),
            (401, "<html>invalid_client</html>"),
            (403, {"error": "access_denied", "error_description": "Realm not enabled"}),
            (404, {"error": "Realm does not exist"}),
            (200, {"unexpected": True}),
        ],
    )
    async def test_no_proof_of_refusal(self, status: int, body: object) -> None:
        """Only "invalid client or credentials" proves that a secret is refused; anything else proves nothing."""
        keycloak = ScriptedKeycloak()
        keycloak.answers[f"POST {TOKEN_PATH}"] = (status, body)
        async with realm(keycloak) as adapter:
            with pytest.raises(BackendRejectedError):
                await adapter.credentials_refused(ClientCredentials("bot", Sensitive("s")))
            with pytest.raises(BackendRejectedError):
                await adapter.mint(ClientCredentials("bot", Sensitive("s")))

    async def test_foreign_token(self) -> None:
        """A token that our own check rejects is not handed on."""
        keycloak = ScriptedKeycloak()
        keycloak.answers["GET /realms/fl/protocol/openid-connect/certs"] = (200, {"keys": []})
        async with realm(keycloak) as adapter:
            with pytest.raises(BackendRejectedError, match="not good") as caught:
                await adapter.mint(ClientCredentials("bot", Sensitive(SECRET)))
        assert caught.value.reason == "TokenRejected"


class TestCatalogue:
    """Ids of roles and groups."""

    async def test_read_once(self) -> None:
        """The roles are read once for all who ask."""
        keycloak = ScriptedKeycloak()
        async with realm(keycloak) as adapter:
            found = await asyncio.gather(*(adapter.realm_roles(frozenset({"one"})) for _ in range(50)))
            await adapter.realm_roles(frozenset({"one", "two"}))
        assert all(roles["one"].role_id == "id-1" for roles in found)
        assert keycloak.calls[f"GET {ADMIN}/roles"] == 1

    async def test_pages(self) -> None:
        """A realm may have more roles than fit on a page."""
        keycloak = ScriptedKeycloak()
        keycloak.roles = {f"role-{n}": f"id-{n}" for n in range(250)}
        async with realm(keycloak) as adapter:
            found = await adapter.realm_roles(frozenset({"role-0", "role-249"}))
        assert found["role-249"].role_id == "id-249"
        assert keycloak.calls[f"GET {ADMIN}/roles"] == 3

    async def test_missing_role(self) -> None:
        """A role that is missing makes us look again, but not for everybody who misses it."""
        keycloak, ticks = ScriptedKeycloak(), Ticks()
        async with realm(keycloak, ticks) as adapter:
            for _ in range(10):
                assert await adapter.realm_roles(frozenset({"one", "late"})) == await adapter.realm_roles(
                    frozenset({"one"})
                )
            assert keycloak.calls[f"GET {ADMIN}/roles"] == 1
            keycloak.roles["late"] = "id-4"
            ticks.seconds += 3.1
            assert (await adapter.realm_roles(frozenset({"late"})))["late"].role_id == "id-4"

    async def test_old(self) -> None:
        """After five minutes everything is read again."""
        keycloak, ticks = ScriptedKeycloak(), Ticks()
        async with realm(keycloak, ticks) as adapter:
            await adapter.realm_roles(frozenset({"one"}))
            await adapter.group_ids(frozenset({"/sites"}))
            keycloak.roles["one"], keycloak.groups["sites"] = "id-9", "id-8"
            ticks.seconds += timedelta(minutes=5).total_seconds() - 1
            assert (await adapter.realm_roles(frozenset({"one"})))["one"].role_id == "id-1"
            assert await adapter.group_ids(frozenset({"/sites"})) == {"/sites": "id-3"}
            ticks.seconds += 2
            assert (await adapter.realm_roles(frozenset({"one"})))["one"].role_id == "id-9"
            assert await adapter.group_ids(frozenset({"/sites"})) == {"/sites": "id-8"}

    async def test_groups(self) -> None:
        """A group is asked for once, one that is missing again after a while; odd paths are encoded."""
        keycloak, ticks = ScriptedKeycloak(), Ticks()
        keycloak.groups["sites/a b?#%41"] = "id-7"
        async with realm(keycloak, ticks) as adapter:
            paths = frozenset({"/sites", "/sites/a b?#%41", "/none"})
            for _ in range(5):
                assert set(await adapter.group_ids(paths)) == {"/sites", "/sites/a b?#%41"}
            assert sum(count for call, count in keycloak.calls.items() if "group-by-path" in call) == 3
            keycloak.groups["none"] = "id-6"
            ticks.seconds += 3.1
            assert (await adapter.group_ids(paths))["/none"] == "id-6"


class TestLibrary:
    """python-keycloak's own connections."""

    async def test_nothing_leaks(self) -> None:
        """Making and closing an adapter leaves no session, and the library has none to go past our transport."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                async with realm(ScriptedKeycloak()) as adapter:
                    connection = adapter._access.connection  # noqa: SLF001 - the very thing under test
                    await adapter.read_client("1")
                    assert not hasattr(connection, "_s")
                    assert not hasattr(connection, "async_s")
            del adapter, connection
            gc.collect()

    async def test_nothing_is_shown(self) -> None:
        """Neither credential nor token is in the repr of anything that the adapter is made of."""
        keycloak = ScriptedKeycloak()
        async with realm(keycloak) as adapter:
            await adapter.read_client("1")
            access = adapter._access  # noqa: SLF001 - looked at on purpose
            texts = [repr(access), *(repr(vars(part)) for part in (access.connection, access.token, access.oidc))]
        for text in texts:
            assert SECRET not in text
            assert not [token for token in keycloak.valid if token in text]

    async def test_path_is_one_segment(self) -> None:
        """An id that holds a slash cannot reach another resource."""
        keycloak = ScriptedKeycloak()
        async with realm(keycloak) as adapter:
            await adapter.read_client("../users/1?x=y")
        # Decoded once, it is still the id as given, and no query.
        assert f"GET {ADMIN}/clients/../users/1?x=y" in keycloak.calls
