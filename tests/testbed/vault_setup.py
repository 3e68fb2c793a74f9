"""What a platform team sets up in Vault, once, before fedid can use it.

Two mounts, the jwt method that trusts the cluster's ServiceAccount key, and a
policy that ends at fedid's own prefix.
"""

from pathlib import Path

from tests.testbed.cluster import OPERATOR_SUBJECT
from tests.testbed.credentials import VaultKeys, load_vault_keys, save_vault_keys
from tests.testbed.errors import StackError
from tests.testbed.progress import Progress, wait_until
from tests.testbed.rest import Rest

AUDIENCE = "vault"
"""`aud` that a ServiceAccount token must have to log in: a token for the API server has not."""

ROLE = "fedid"
POLICY = "fedid"

POLICY_TEXT = """\
# KV v2: the data, and the metadata that carries the owner mark.
path "secret/data/fedid/*" {
  capabilities = ["create", "read", "update", "patch", "delete"]
}
path "secret/metadata/fedid/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

# KV v1.
path "secrets/fedid/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Copies of tokens in the layout of a platform, where a grant lets bots have them.
path "secrets/users/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}
"""
"""All that the operator may do in Vault. Deleting the metadata takes every version with
it, so `secret/delete` and `secret/destroy` are not needed."""

TOKEN_SECONDS = 20 * 60
"""Life of the operator's Vault token: short, so that logging in anew is ordinary."""


def ensure_unsealed(vault: Rest, keys_path: Path, progress: Progress) -> None:
    """Initialise a new Vault and keep its keys; unseal one that is sealed; wait until it serves.

    Raises:
        StackError: Vault is initialised, and its keys are lost.
    """
    if not vault.call("GET", "/v1/sys/init")["initialized"]:
        made = vault.call("PUT", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
        save_vault_keys(keys_path, VaultKeys(made["root_token"], made["keys_base64"][0]))
    if not keys_path.exists():
        msg = (
            f"Vault was initialised but {keys_path} is missing (the bring-up was interrupted "
            "in that very moment): `down`, then `up`."
        )
        raise StackError(msg)
    if vault.call("GET", "/v1/sys/seal-status")["sealed"]:
        vault.call("PUT", "/v1/sys/unseal", {"key": load_vault_keys(keys_path).unseal_key})
    # An unsealed node answers errors until it has elected itself.
    wait_until(
        progress,
        "Vault was not active",
        30,
        lambda: vault.answer("GET", "/v1/sys/health").status == 200,
    )


def provision_vault(vault: Rest, service_account_public_key: str, progress: Progress) -> None:
    """Bring an unsealed Vault to what fedid needs; what is there already stays.

    Args:
        vault: As its root.
        progress: Ends the waits when the work is cancelled.
        service_account_public_key: PEM of the key that signs the cluster's tokens.
    """
    _ensure_mount(vault, "secret", "2")
    _ensure_mount(vault, "secrets", "1")
    # A new KV v2 mount answers 400 until its upgrade is through.
    wait_until(
        progress,
        "the KV v2 mount of Vault was not usable",
        30,
        lambda: vault.answer("GET", "/v1/secret/config").status == 200,
    )
    vault.call("PUT", f"/v1/sys/policies/acl/{POLICY}", {"policy": POLICY_TEXT})
    _ensure_jwt_login(vault, service_account_public_key)


def _ensure_mount(vault: Rest, path: str, version: str) -> None:
    if f"{path}/" not in vault.call("GET", "/v1/sys/mounts")["data"]:
        mount = {"type": "kv", "options": {"version": version}}
        vault.call("POST", f"/v1/sys/mounts/{path}", mount)


def _ensure_jwt_login(vault: Rest, public_key: str) -> None:
    if "jwt/" not in vault.call("GET", "/v1/sys/auth")["data"]:
        vault.call("POST", "/v1/sys/auth/jwt", {"type": "jwt"})
    vault.call("POST", "/v1/auth/jwt/config", {"jwt_validation_pubkeys": [public_key]})
    vault.call(
        "POST",
        f"/v1/auth/jwt/role/{ROLE}",
        {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [AUDIENCE],
            "bound_subject": OPERATOR_SUBJECT,
            "token_policies": [POLICY],
            "token_ttl": TOKEN_SECONDS,
            "token_max_ttl": TOKEN_SECONDS,
        },
    )
