"""How a Driverless AI server logs people in, by its own settings alone: a relying party (Authlib) in its place.

The server is proprietary and cannot be had. Its settings are read in its order (contracts.md §6): a `config.toml` that
`DRIVERLESS_AI_CONFIG_FILE` names, then the environment `DRIVERLESS_AI_<KEY>`, which wins. A setting that is missing is
an error here too.
"""

import asyncio
import os
import threading
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from authlib.integrations.starlette_client import OAuth, OAuthError
from conversation import Answer, converse
from objectpath import Tree
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PREFIX = "DRIVERLESS_AI_"


class Settings:
    """What the server is told."""

    def __init__(self) -> None:
        """Read the file, if there is one, and the environment over it."""
        file = os.environ.get(f"{PREFIX}CONFIG_FILE")
        self._values: dict[str, Any] = tomllib.loads(Path(file).read_text()) if file else {}
        named = {key: value for key, value in os.environ.items() if key.startswith(PREFIX)}
        self._values |= {key.removeprefix(PREFIX).lower(): value for key, value in named.items()}

    def __getitem__(self, key: str) -> str:
        """Return a setting.

        Raises:
            KeyError: It is not set.
        """
        return str(self._values[key])

    def get(self, key: str) -> str:
        """Return a setting, empty if it is not set."""
        return str(self._values.get(key, ""))


class Server:
    """The doors of a Driverless AI server: people at a browser, and the Python client."""

    def __init__(self) -> None:
        """Register what the settings name at a client of OpenID Connect."""
        self._settings = settings = Settings()
        oauth = OAuth()
        method = settings["authentication_method"]
        endpoints = self._discovered() if method == "oidc" else self._explicit()
        self._people = oauth.register(
            "people",
            client_id=settings["auth_openid_client_id"],
            client_secret=settings["auth_openid_client_secret"],
            client_kwargs={"scope": settings["auth_openid_scope"], "token_endpoint_auth_method": "client_secret_basic"},
            **endpoints,
        )
        self._scripts = None
        if settings.get("oauth2_client_tokens_enabled").lower() == "true":
            self._scripts = oauth.register(
                "scripts",
                client_id=settings["oauth2_client_tokens_client_id"],
                authorize_url=settings["oauth2_client_tokens_authorize_url"],
                access_token_url=settings["oauth2_client_tokens_token_url"],
                server_metadata_url=endpoints["server_metadata_url"],
                client_kwargs={
                    "scope": settings["oauth2_client_tokens_scope"],
                    "code_challenge_method": "S256",
                    "token_endpoint_auth_method": "none",
                },
            )

    def _discovered(self) -> dict[str, str]:
        return {"server_metadata_url": f"{self._settings['auth_oidc_issuer_url']}/.well-known/openid-configuration"}

    def _explicit(self) -> dict[str, str]:
        base = self._settings["auth_openid_provider_base_uri"]
        return {
            "authorize_url": base + self._settings["auth_openid_auth_uri"],
            "access_token_url": base + self._settings["auth_openid_token_uri"],
            "userinfo_endpoint": base + self._settings["auth_openid_userinfo_uri"],
            # For the keys alone: what is explicit goes before what is discovered.
            "server_metadata_url": base + self._settings["auth_openid_configuration_uri"],
        }

    def application(self) -> Starlette:
        """Return the application, with its paths where the settings have them."""
        callback = urlsplit(self._settings["auth_openid_redirect_uri"]).path
        routes = [
            Route("/", self._enter),
            Route(callback, self._came_back),
            Route("/home", self._at_home),
            Route("/logout", self._leave),
            Route("/login", self._left),
            Route("/rpc", self._rpc, methods=["POST"]),
        ]
        if self._scripts is not None:
            routes += [
                Route("/token", self._enter_for_token),
                Route(urlsplit(self._settings["oauth2_client_tokens_redirect_url"]).path, self._token_came),
            ]
        session = Middleware(SessionMiddleware, secret_key=os.urandom(16).hex())
        return Starlette(routes=routes, middleware=[session])

    async def _enter(self, request: Request) -> Response:
        return await self._people.authorize_redirect(request, self._settings["auth_openid_redirect_uri"])

    async def _came_back(self, request: Request) -> Response:
        """Let somebody in who is who the settings ask for."""
        try:
            tokens = await self._people.authorize_access_token(request)
        except OAuthError as error:
            return JSONResponse({"refused": error.error}, status_code=401)
        claims = await self._identity(tokens)
        if not self._lets_in(claims):
            return JSONResponse({"refused": "not one of those that are let in"}, status_code=403)
        request.session["id_token"] = tokens["id_token"]
        request.session["user"] = claims[self._username_key()]
        return JSONResponse({"user": request.session["user"]})

    def _lets_in(self, claims: dict[str, Any]) -> bool:
        if self._settings.get("auth_openid_use_objectpath_match") == "true":
            return bool(Tree(claims).execute(self._settings["auth_openid_use_objectpath_expression"]))
        key, wanted = (self._settings.get(f"auth_openid_userinfo_auth_{half}") for half in ("key", "value"))
        return not key or claims.get(key) == wanted

    async def _at_home(self, request: Request) -> Response:
        """Answer whoever has a session; for as long as that lasts, nobody asks the provider."""
        return JSONResponse({"user": request.session.get("user")})

    def _username_key(self) -> str:
        if self._settings["authentication_method"] == "openid":
            return self._settings["auth_openid_userinfo_username_key"]
        return self._settings.get("auth_oidc_id_token_username_key") or self._settings["auth_oidc_username_claim"]

    async def _identity(self, tokens: dict[str, Any]) -> dict[str, Any]:
        """Return the claims that the settings say who somebody is by."""
        if self._settings.get("auth_oidc_identity_source") == "id_token":
            return dict(tokens["userinfo"])
        return dict(await self._people.userinfo(token=tokens))

    async def _leave(self, request: Request) -> Response:
        """Log out of the session at the provider too."""
        target = self._settings["auth_oidc_post_logout_url"]
        return await self._people.logout_redirect(request, target, id_token_hint=request.session.pop("id_token"))

    async def _left(self, _request: Request) -> Response:
        return JSONResponse({"left": True})

    async def _enter_for_token(self, request: Request) -> Response:
        assert self._scripts is not None
        return await self._scripts.authorize_redirect(request, self._settings["oauth2_client_tokens_redirect_url"])

    async def _token_came(self, request: Request) -> Response:
        """Show somebody the refresh token that is for their Python client."""
        assert self._scripts is not None
        tokens = await self._scripts.authorize_access_token(request)
        return JSONResponse({"refresh_token": tokens["refresh_token"]})

    async def _rpc(self, request: Request) -> Response:
        """Answer the Python client, whose token is introspected (RFC 7662) as the server's own client."""
        assert self._settings["api_token_introspection_method"] == "OAUTH2_TOKEN_INTROSPECTION"
        token = request.headers["authorization"].removeprefix("Bearer ")
        own = (self._settings["auth_openid_client_id"], self._settings["auth_openid_client_secret"])
        async with httpx.AsyncClient(trust_env=False) as client:
            url = self._settings["oauth2_client_tokens_introspection_url"]
            told = (await client.post(url, data={"token": token}, auth=own)).json()
        if not told.get("active"):
            return JSONResponse({"refused": "inactive"}, status_code=401)
        return JSONResponse({"user": told[self._settings["api_token_oauth2_username_field_name"]]})


def serve() -> Answer:
    """Start serving at the address of the redirect URI."""
    server = Server()
    address = urlsplit(server._settings["auth_openid_redirect_uri"])  # noqa: SLF001 - the one of this file
    configuration = uvicorn.Config(
        server.application(), host=str(address.hostname), port=address.port or 80, log_level="warning"
    )
    running = uvicorn.Server(configuration)
    threading.Thread(target=lambda: asyncio.run(running.serve()), daemon=True).start()
    while not running.started:
        threading.Event().wait(0.05)
    return {}


if __name__ == "__main__":
    converse(serve=serve)
