"""What ai4flwr's unreleased source does in file and in Vault mode, written from what is known of it and not from it.

The package on the index knows neither mode, and the source (`ai4os/ai4-flwr` at 3943747, `auth/bearer.py` and
`auth/vault.py`) cannot be installed from there. Each fact below is followed by the section of contracts.md, the
project's record of what platforms really read, that states it: §2.1 both modes, §2.2 file, §2.3 Vault.
"""

import base64
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc

HEADER = "x-authorization"
"""§2.1: the metadata header of this flavour; the value begins with `Bearer ` and one space."""


class AuthPlugin(grpc.AuthMetadataPlugin):
    """The client's side: its one token with every call (§2.1)."""

    def __init__(self, token: str) -> None:
        """Take the token as it is: it must be printable ASCII without spaces (§2.2)."""
        self._token = token

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        """Add the header."""
        del context
        callback(((HEADER, f"Bearer {self._token}"),), None)


class Interceptor(grpc.ServerInterceptor):
    """What both modes share: the check, made when a call or a stream opens and never again (§2.2)."""

    tokens: Sequence[str]
    rejection: grpc.RpcMethodHandler

    def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Go on with a known token, else reject."""
        # §2.1: methods of such a name bypass the check.
        if handler_call_details.method.endswith("Unauthenticated"):
            return continuation(handler_call_details)
        value: Any = None
        for key, found in handler_call_details.invocation_metadata:
            if key == HEADER:
                value = found
        # §2.1: without the header this is an AttributeError, and the client sees UNKNOWN: it fails closed.
        if value.startswith("Bearer ") and value.removeprefix("Bearer ") in self.tokens:
            return continuation(handler_call_details)
        return self.rejection


class FileInterceptor(Interceptor):
    """File mode (§2.2)."""

    def __init__(self, file: str) -> None:
        """Read the file, and read it anew at SIGUSR1, for which only the main thread can listen (§2.2)."""
        self._file = Path(file)
        self.tokens = self._read()

        def reject(_requests: Any, context: grpc.ServicerContext) -> Any:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid token")
            yield

        # §2.1: a handler of streams, so that a rejected stream ends at once.
        self.rejection = grpc.stream_stream_rpc_method_handler(reject)
        signal.signal(signal.SIGUSR1, self._reload)

    def _reload(self, _number: int, _frame: object) -> None:
        # §2.2: the whole list is replaced at once.
        self.tokens = self._read()

    def _read(self) -> list[str]:
        """Return one token for each line, stripped, without blank lines; `#` begins no comment (§2.2)."""
        try:
            # §2.2: the file is opened anew each time, so what the kubelet swaps is seen.
            lines = self._file.read_text().split("\n")
        except FileNotFoundError:
            # §2.2: only this is caught, and it denies all.
            return []
        return [token for line in lines if (token := line.strip())]


class VaultInterceptor(Interceptor):
    """Vault mode (§2.3): KV version 1, one secret per client below a folder, its key `token`.

    `rejection` is never set (§2.3): a wrong token is an AttributeError here, and UNKNOWN for the client.
    """

    def __init__(self, address: str, folder: str, *, vault_token: str = "", jwt: str = "", login: str = "jwt") -> None:
        """Log in if a JWT is given, and see that the folder is there.

        Args:
            address: Vault's URL.
            folder: Below the mount `secrets` (§2.3).
            vault_token: Of Vault.
            jwt: An OIDC access token, to log in with instead, for the default role (§2.3: role is empty).
            login: Mount of the jwt method (§2.3: `jwt`, in AI4OS's production `jwt-keycloak`).

        Raises:
            FileNotFoundError: The folder is empty: the server does not start (§2.3).
        """
        self._address = address
        self._folder = folder.strip("/")
        self._token = vault_token or self._log_in(jwt, login)
        self._names()

    @staticmethod
    def folder_of(jwt: str, deployment: str, organisation: str = "") -> str:
        """Return the folder of a deployment: by the token's `sub`, unverified (§2.3)."""
        payload = jwt.split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
        parts = ["users", subject, organisation, "deployments", deployment, "federated"]
        return "/".join(part for part in parts if part)

    @cached_property
    def tokens(self) -> list[str]:  # type: ignore[override]
        """Read once: later ones are refused, and deleted ones accepted, until the process starts anew (§2.3)."""
        entries = [self._call("GET", f"secrets/{self._folder}/{name}") for name in self._names()]
        # §2.3: an entry without the key is skipped, other keys are not looked at.
        return [entry["data"]["token"] for entry in entries if "token" in entry["data"]]

    def _names(self) -> list[str]:
        try:
            return list(self._call("LIST", f"secrets/{self._folder}")["data"]["keys"])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(self._folder) from None
            raise

    def _log_in(self, jwt: str, mount: str) -> str:
        # §2.3: the renewal of what this gives is never run, so it need only live through the start.
        return str(self._call("POST", f"auth/{mount}/login", {"role": "", "jwt": jwt})["auth"]["client_token"])

    def _call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if body is None:
            headers["X-Vault-Token"] = self._token
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._address}/v1/{path}"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 - the stack's Vault
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return json.load(response)
