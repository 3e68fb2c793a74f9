"""The way to the API server from outside the cluster, by a kubeconfig; the only place that loads `kubernetes`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import KUBE_CONFIG_DEFAULT_LOCATION, ConfigException
from kubernetes.aio.config.exec_provider import ExecProvider
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from fedid.adapters.kubernetes.credential import Credential, FixedCredential, TokenFile
from fedid.adapters.kubernetes.found import Found
from fedid.domain.sensitive import Sensitive
from fedid.engine import SingleFlight

_log = logging.getLogger(__name__)

EXPIRY_MARGIN: Final = timedelta(seconds=30)
"""How long before the end of an exec plugin's token it is asked for another."""


async def from_kubeconfig(paths: str | None, context: str | None) -> Found:
    """Read it the way kubectl does.

    Args:
        paths: One or several, separated as in `$KUBECONFIG`; None: `~/.kube/config`.
        context: None: the current one.
    """
    merged = KubeConfigMerger(paths or KUBE_CONFIG_DEFAULT_LOCATION).config  # type: ignore[no-untyped-call]
    # `config_base_path=None` makes relative paths start at the file that holds them, as kubectl has it.
    loader: Any = KubeConfigLoader(merged, active_context=context, config_base_path=None)  # type: ignore[no-untyped-call]
    configuration = Configuration()
    await loader.load_and_set(configuration)
    chosen = loader.current_context["context"]
    user = merged["users"].get_with_name(chosen["user"], safe=True) if chosen.get("user") else None
    section = None if user is None else user["user"]
    return Found(
        server=configuration.host,
        credential=_credential(section, configuration),
        namespace=chosen.get("namespace"),
        ca_file=configuration.ssl_ca_cert,
        verified=configuration.verify_ssl,
        certificate_file=configuration.cert_file,
        key_file=configuration.key_file,
        server_hostname=configuration.tls_server_name,
        proxy=configuration.proxy,
    )


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


class ExecPlugin:
    """A token from a command that the kubeconfig names, asked again shortly before it ends.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
    """

    def __init__(self, settings: Any) -> None:
        """Keep how to run it."""
        self._settings = settings
        self._last: Sensitive | None = None
        self._ends_at: datetime | None = None
        self._flights: SingleFlight[str, None] = SingleFlight()

    async def header(self) -> Sensitive | None:
        """Return the last token, or after the command has run a new one."""
        due = self._ends_at is not None and datetime.now(UTC) >= self._ends_at - EXPIRY_MARGIN
        if self._last is None or due:
            await self._flights.run("exec", self._run)
        return self._last

    async def _run(self) -> None:
        try:
            status = await ExecProvider(self._settings).run()  # type: ignore[no-untyped-call]
        except (ConfigException, OSError):
            # Its words may hold what the command printed. Without a new token the API server answers 401 soon.
            _log.warning("the exec plugin of the kubeconfig failed: run it by hand to see why")
            return
        if token := status.get("token"):
            self._last = Sensitive(f"Bearer {token}")
        ends = status.get("expirationTimestamp")
        self._ends_at = None if ends is None else datetime.fromisoformat(ends)
