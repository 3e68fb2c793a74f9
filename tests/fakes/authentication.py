"""Which client of a realm in memory authenticates with what, as Keycloak 26.7.3 was seen to tell."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from fedid.adapters.signing_keys import signing_key
from fedid.domain.bot_authentication import FEDERATED_JWT, SIGNED_JWT
from fedid.domain.realm import CLIENT_SECRET, ClientRecord
from fedid.domain.tokens import AssertionFile, ClientAuthentication, ClientCredentials, PrivateKey
from fedid.errors import BackendRejectedError


def authenticated(
    credentials: ClientAuthentication, clients: Collection[ClientRecord], assertions: Mapping[str, str]
) -> ClientRecord | None:
    """Return the client that authenticates so, None if it is refused.

    Args:
        credentials: What is presented.
        clients: Those of the realm, each with its secret.
        assertions: Subjects of the ServiceAccount tokens that the cluster made.

    Raises:
        BackendRejectedError: A secret, for a client that must sign: Keycloak misses the assertion.
    """
    match credentials:
        case ClientCredentials():
            client = _with(CLIENT_SECRET, credentials.client_id, clients)
            if client is None and _with(SIGNED_JWT, credentials.client_id, clients) is not None:
                message = "Parameter client_assertion_type is missing"
                raise BackendRejectedError(message, backend="keycloak")
            known = {client.secret, client.previous_secret} if client is not None else set()
            public = client is not None and client.flags["publicClient"]  # it is let in whatever it presents
            return client if public or credentials.secret in known else None
        case PrivateKey():
            client = _with(SIGNED_JWT, credentials.client_id, clients)
            public = dict(signing_key(credentials.key).public_key) | {"kid": credentials.key_id}
            known = json.loads(client.attributes.get("jwks.string") or "{}").get("keys", ()) if client else ()
            return client if public in known else None
        case AssertionFile():
            subject = assertions.get(credentials.path.read_text().strip())
            found = (
                client
                for client in clients
                if (client.enabled, client.authenticator) == (True, FEDERATED_JWT)
                and client.attributes.get("jwt.credential.sub") == subject
                and client.client_id == (credentials.client_id or client.client_id)
            )
            return None if subject is None else next(found, None)


def _with(authenticator: str, client_id: str, clients: Collection[ClientRecord]) -> ClientRecord | None:
    client = next((client for client in clients if client.client_id == client_id), None)
    fits = client is not None and client.enabled and client.authenticator == authenticator
    return client if fits else None
