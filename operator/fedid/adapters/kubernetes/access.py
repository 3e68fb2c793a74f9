"""Where the API server is and how the operator gets in: in a pod by its ServiceAccount, elsewhere by a kubeconfig."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from fedid import __version__
from fedid.adapters.kubernetes.credential import Authorisation, TokenFile
from fedid.adapters.kubernetes.found import Found
from fedid.errors import BackendDeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedid.adapters.kubernetes.credential import Credential

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where kubelet puts a pod's token, CA and namespace."""
CONNECTIONS: Final = 64
"""Open connections to the API server, and as many of kopf's at most; each costs about 0.3 MB with TLS."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
"""Seconds, for requests that bring no limit of their own (kopf's do)."""


class ClusterAccess:
    """The way to the API server: one pool of connections and one credential, for as many sessions as are asked for."""

    def __init__(  # noqa: PLR0913 - what a kubeconfig can say about a way to the API server
        self,
        server: str,
        namespace: str,
        credential: Credential,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        proxy: str | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        """Open the pool of the running loop.

        Args:
            server: URL of the API server.
            namespace: The operator's own.
            credential: Asked for each request.
            tls: How to verify the server, with our client certificate if there is one; None for plain http.
            server_hostname: What the server's certificate must be for; None: the host of the URL.
            proxy: URL of a web proxy in between.
            connections: Upper bound of open connections (> 0).
        """
        self.server = server.rstrip("/")
        self.namespace = namespace
        self._home = asyncio.get_running_loop()
        self._middleware = Authorisation(credential, URL(self.server).origin(), server_hostname, self._home)
        self._proxy = proxy
        self._tls: ssl.SSLContext | bool = tls if tls is not None else True
        self._connections = connections
        self._connector = self._new_pool()
        self._elsewhere: list[aiohttp.ClientSession] = []

    def open_session(self) -> aiohttp.ClientSession:
        """Return a new session for the running loop.

        In the loop that made this object it uses the shared pool, and closing it leaves the pool open. In another one
        (kopf's, which closes the session that it was given after a 401 and asks for another) it has a pool of its own.
        """
        elsewhere = asyncio.get_running_loop() is not self._home
        session = aiohttp.ClientSession(
            connector=self._new_pool() if elsewhere else self._connector,
            connector_owner=elsewhere,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"fedid/{__version__}"},
            timeout=TIMEOUT,
            trust_env=False,
            proxy=self._proxy,
            middlewares=(self._middleware,),
        )
        if elsewhere:
            self._elsewhere = [*(one for one in self._elsewhere if not one.closed), session]
        return session

    async def aclose_elsewhere(self) -> None:
        """Close the sessions that were opened in other loops than the first; called in theirs."""
        for session in self._elsewhere:
            await session.close()

    def _new_pool(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self._connections, ssl=self._tls)

    async def aclose(self) -> None:
        """Close the shared pool, and with it whatever still uses it."""
        await self._connector.close()


async def load_cluster_access(  # noqa: PLR0913 - one keyword for each thing that a start may choose
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    namespace: str | None = None,
    connections: int = CONNECTIONS,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> ClusterAccess:
    """Return the way to the API server.

    Args:
        kubeconfig: Path (several: separated as in `$KUBECONFIG`); None: a pod's ServiceAccount if there is one, else
            `$KUBECONFIG`, else `~/.kube/config`.
        context: Of the kubeconfig; None: its current one.
        namespace: The operator's own; None: the pod's, else the context's, else `default`.
        connections: Upper bound of open connections (> 0).
        environ: Tells where a pod finds the API server.
        service_account: Where kubelet puts the token.

    Raises:
        BackendDeniedError: There is no usable access.
    """
    in_pod = kubeconfig is None and "KUBERNETES_SERVICE_HOST" in environ and (service_account / "token").exists()
    try:
        if in_pod:
            found = _from_pod(service_account, environ)
        else:
            # Only here: loading the library takes 0.7 s, a third of a start.
            from fedid.adapters.kubernetes.kubeconfig import from_kubeconfig  # noqa: PLC0415

            found = await from_kubeconfig(kubeconfig or environ.get("KUBECONFIG"), context)
        tls = _tls(found)
    # The library raises whatever a malformed file leads to. Not chained: a ConfigException names the place in the file
    # by the text around it, tokens included.
    except Exception:  # noqa: BLE001
        where = str(service_account) if in_pod else "the kubeconfig (KUBECONFIG, or ~/.kube/config)"
        message = f"no access to the cluster in {where}: check server, CA, context and user with kubectl"
        raise BackendDeniedError(message, backend="kubernetes") from None
    return ClusterAccess(
        found.server,
        namespace or found.namespace or "default",
        found.credential,
        tls=tls,
        server_hostname=found.server_hostname,
        proxy=found.proxy,
        connections=connections,
    )


def _from_pod(folder: Path, environ: Mapping[str, str]) -> Found:
    """Return what kubelet tells every pod.

    Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
    namespace = folder / "namespace"
    return Found(
        server=str(URL.build(scheme="https", host=host, port=int(port))),
        credential=TokenFile(folder / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else None,
        ca_file=str(folder / "ca.crt"),
    )


def _tls(found: Found) -> ssl.SSLContext | None:
    if not found.server.startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=found.ca_file)
    if not found.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.certificate_file:
        context.load_cert_chain(found.certificate_file, found.key_file)
    return context
