"""Serves /healthz, /readyz and /metrics on the loop that does the work: a blocked loop fails its probe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

__all__ = ["HealthServer"]


class HealthServer:
    """A small HTTP server for the kubelet and Prometheus."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ready: Callable[[], str | None],
        metrics: Callable[[str], Awaitable[tuple[bytes, str]]],
    ) -> None:
        """Prepare.

        Args:
            host: Address to listen on.
            port: TCP port.
            ready: Returns why the operator is not ready, None if it is.
            metrics: Gets what the client accepts, and returns the metrics and their content type.
        """
        self._host, self._port = host, port
        self._ready, self._metrics = ready, metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Start listening."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._exposition),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        why_not = self._ready()
        return web.Response(text="ok\n") if why_not is None else web.Response(status=503, text=f"{why_not}\n")

    async def _exposition(self, request: web.Request) -> web.Response:
        body, content_type = await self._metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, "Vary": "Accept"})
