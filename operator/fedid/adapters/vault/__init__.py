"""Vault's KV mounts as a `SecretStore`.

hvac says what to send and `Transport` sends it. Every entry carries an owner mark, and what lies under another mark, or
under none, is neither handed out nor changed nor deleted. Vault's own words never leave the package: an error names the
path, the missing capability and the next step.

- `store` is the port; `kv_v2` and `kv_v1` are the two layouts behind it, `probe` looks at the whole before it is used.
- `login` gets a token of our own, `session` keeps it fresh, `hvac_adapter` puts it on each request.
- `failures` is the one place that translates what Vault refuses.
"""

from __future__ import annotations

from fedid.adapters.vault.login import AppRoleLogin, JwtLogin, StaticToken
from fedid.adapters.vault.session import LoginMethod
from fedid.adapters.vault.store import VaultSecretStore

__all__ = ["AppRoleLogin", "JwtLogin", "LoginMethod", "StaticToken", "VaultSecretStore"]
