"""Where the API server is and how the operator gets in: in a pod by its ServiceAccount, elsewhere by a kubeconfig."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import KUBE_CONFIG_DEFAULT_LOCATION
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger
from yarl import URL

from fedid import __version__
from fedid.adapters.kubernetes.credential import Authorisation, Credential, ExecPlugin, FixedCredential, TokenFile
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where kubelet puts a pod's token, CA and namespace."""
CONNECTIONS: Final = 64
"""Open connections to the API server, and as many of kopf's at most; each costs about 0.3 MB with TLS."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
"""Seconds, for requests that bring no limit of their own (kopf's do)."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a kubeconfig or the pod says."""

    configuration: Configuration
    credential: Credential
    namespace: str | None


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
            paths = kubeconfig or environ.get("KUBECONFIG") or KUBE_CONFIG_DEFAULT_LOCATION
            found = await _from_kubeconfig(paths, context)
        tls = _tls(found.configuration)
    # The library raises whatever a malformed file leads to. Not chained: a ConfigException names the place in the file
    # by the text around it, tokens included.
    except Exception:  # noqa: BLE001
        where = str(service_account) if in_pod else "the kubeconfig (KUBECONFIG, or ~/.kube/config)"
        message = f"no access to the cluster in {where}: check server, CA, context and user with kubectl"
        raise BackendDeniedError(message, backend="kubernetes") from None
    return ClusterAccess(
        found.configuration.host,
        namespace or found.namespace or "default",
        found.credential,
        tls=tls,
        server_hostname=found.configuration.tls_server_name,
        proxy=found.configuration.proxy,
        connections=connections,
    )


def _from_pod(folder: Path, environ: Mapping[str, str]) -> _Found:
    configuration = Configuration()
    loader = InClusterConfigLoader(  # type: ignore[no-untyped-call]
        str(folder / "token"), str(folder / "ca.crt"), try_refresh_token=False, environ=environ
    )
    loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
    namespace = folder / "namespace"
    return _Found(
        configuration, TokenFile(folder / "token"), namespace.read_text().strip() if namespace.exists() else None
    )


async def _from_kubeconfig(paths: str, context: str | None) -> _Found:
    merged = KubeConfigMerger(paths).config  # type: ignore[no-untyped-call]
    # `config_base_path=None` makes relative paths start at the file that holds them, as kubectl has it.
    loader: Any = KubeConfigLoader(merged, active_context=context, config_base_path=None)  # type: ignore[no-untyped-call]
    configuration = Configuration()
    await loader.load_and_set(configuration)
    chosen = loader.current_context["context"]
    user = merged["users"].get_with_name(chosen["user"], safe=True) if chosen.get("user") else None
    section = None if user is None else user["user"]
    return _Found(configuration, _credential(section, configuration), chosen.get("namespace"))


def _credential(user: Any, configuration: Configuration) -> Credential:
    """Return what keeps the kubeconfig user's header fresh.

    Args:
        user: The user's section, None if the context names none.
        configuration: What the library read of it, once.
    """
    if user is not None and "tokenFile" in user:
        # Relative to the kubeconfig that holds it. A file wins over a token beside it, as with kubectl.
        return TokenFile(Path(user.path or ".").parent / user["tokenFile"])
    header = configuration.api_key.get("BearerToken")
    if user is not None and "exec" in user and header is not None:
        return ExecPlugin(user["exec"])
    return FixedCredential(None if header is None else Sensitive(header.replace("\n", "")))


def _tls(configuration: Configuration) -> ssl.SSLContext | None:
    if not configuration.host.startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
