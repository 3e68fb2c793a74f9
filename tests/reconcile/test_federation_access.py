"""What a Federation's Secrets must hold, told when it is missing, and noticed when it changes."""

from __future__ import annotations

import itertools

import pytest

from fedid.domain.access import (
    AppRole,
    AppRoleAuth,
    ClientCredentialsAuth,
    JwtAuth,
    KeycloakAuth,
    KubernetesAuth,
    PrivateKeyJwtAuth,
    ServiceAccountTokenAuth,
    VaultAuth,
    VaultToken,
    VaultTokenAuth,
)
from fedid.domain.conditions import Reason
from fedid.domain.resources import parse_federation
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.domain.tokens import ClientCredentials, PrivateKey
from fedid.errors import NotReadyError
from fedid.reconcile.federation_access import access_digest, keycloak_credentials, vault_credentials, vault_holder
from tests.domain.samples import body
from tests.fakes.cluster import OPERATOR_NAMESPACE, FakeCluster


def cluster_with(**data: str) -> FakeCluster:
    """Return a cluster whose Secret `s` holds these keys; an underscore stands for a dash."""
    cluster = FakeCluster()
    held = {key.replace("_", "-"): Sensitive(value) for key, value in data.items()}
    cluster.put_secret_by_hand(MountedSecret(OPERATOR_NAMESPACE, "s", "Opaque", held))
    return cluster


async def test_keycloak_credentials() -> None:
    """Each way takes its own keys, without the line end that files have; its own token needs no Secret."""
    cluster = cluster_with(client_id="fedid\n", client_secret=" x\n", private_key="pem\n", key_id="k1\n")
    assert await keycloak_credentials(cluster, ClientCredentialsAuth("s")) == ClientCredentials("fedid", Sensitive("x"))
    assert await keycloak_credentials(cluster, PrivateKeyJwtAuth("s")) == PrivateKey("fedid", Sensitive("pem"), "k1")
    own = ServiceAccountTokenAuth("fedid")
    assert await keycloak_credentials(FakeCluster(), own) == own
    cluster = cluster_with(client_id="fedid", private_key="pem", key_id="\n")
    assert await keycloak_credentials(cluster, PrivateKeyJwtAuth("s")) == PrivateKey("fedid", Sensitive("pem"))


async def test_vault_credentials() -> None:
    """Likewise for Vault."""
    cluster = cluster_with(role_id="r\n", secret_id="x\n", token="t\n")
    assert await vault_credentials(cluster, AppRoleAuth("m", "s")) == AppRole("m", Sensitive("r"), Sensitive("x"))
    assert await vault_credentials(cluster, VaultTokenAuth("s")) == VaultToken(Sensitive("t"))
    for own in (JwtAuth("jwt", "r"), KubernetesAuth("kubernetes", "r")):
        assert await vault_credentials(FakeCluster(), own) == own


@pytest.mark.parametrize(
    ("auth", "field", "keys"),
    [
        (ClientCredentialsAuth("s"), "spec.keycloak.auth.clientCredentials.secretName", ("client-id", "client-secret")),
        (PrivateKeyJwtAuth("s"), "spec.keycloak.auth.privateKeyJwt.secretName", ("client-id", "private-key")),
        (AppRoleAuth("m", "s"), "spec.vault.auth.approle.secretName", ("role-id", "secret-id")),
        (VaultTokenAuth("s"), "spec.vault.auth.token.secretName", ("token",)),
    ],
)
async def test_what_is_missing_is_told(auth: KeycloakAuth | VaultAuth, field: str, keys: tuple[str, ...]) -> None:
    """The Secret, then each of its keys: the message names the field, the Secret and the key."""

    async def read(cluster: FakeCluster) -> object:
        if isinstance(auth, ClientCredentialsAuth | PrivateKeyJwtAuth | ServiceAccountTokenAuth):
            return await keycloak_credentials(cluster, auth)
        return await vault_credentials(cluster, auth)

    async def told(cluster: FakeCluster) -> str:
        with pytest.raises(NotReadyError) as caught:
            await read(cluster)
        assert caught.value.reason == Reason.CREDENTIALS_MISSING
        return caught.value.message

    where = f"Secret s in the operator's namespace ({field})"
    noun = "keys" if len(keys) > 1 else "key"
    assert await told(FakeCluster()) == f"{where} does not exist; create it with the {noun} {' and '.join(keys)}"
    for key in keys:
        others = {other.replace("-", "_"): "x" for other in keys if other != key}
        assert await told(cluster_with(**others)) == f"{where} lacks the key {key}"
        empty = {key.replace("-", "_"): " \n"}
        assert await told(cluster_with(**others, **empty)) == f"{where} lacks the key {key}"


def test_digest() -> None:
    """Whatever is presented counts, though none of it can be printed; the same gives the same."""
    federation = parse_federation(body("Federation"))
    ways = [
        ClientCredentials("a", Sensitive("x")),
        ClientCredentials("a", Sensitive("y")),
        ClientCredentials("b", Sensitive("x")),
        PrivateKey("a", Sensitive("x")),
        PrivateKey("a", Sensitive("y")),
        PrivateKey("a", Sensitive("x"), "k"),
        ServiceAccountTokenAuth(""),
        ServiceAccountTokenAuth("a"),
    ]
    into_vault = [
        JwtAuth("m", "x"),
        KubernetesAuth("m", "x"),
        AppRole("m", Sensitive("x"), Sensitive("y")),
        AppRole("m", Sensitive("y"), Sensitive("x")),
        VaultToken(Sensitive("x")),
        VaultToken(Sensitive("y")),
    ]
    found = [access_digest(federation, *pair) for pair in itertools.product(ways, into_vault)]
    assert len(set(found)) == len(ways) * len(into_vault)
    assert found == [access_digest(federation, *pair) for pair in itertools.product(ways, into_vault)]


@pytest.mark.parametrize(
    ("auth", "holder"),
    [
        (JwtAuth("m", "r"), "Vault's role r"),
        (KubernetesAuth("m", "r"), "Vault's role r"),
        (AppRoleAuth("m", "s"), "The AppRole in the Secret s"),
        (VaultTokenAuth("s"), "The Vault token in the Secret s"),
    ],
)
def test_holder(auth: VaultAuth, holder: str) -> None:
    """A missing permission is told of who lacks it."""
    assert vault_holder(auth)[0] == holder
