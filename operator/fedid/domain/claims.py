"""Which claims a spec may put into tokens: none that the protocol, Keycloak or a verifier's authorization goes by.

Source: RFC 7519 section 4.1, RFC 7800, RFC 8693 sections 4.1 and 4.4, RFC 9068 section 2.2, RFC 7662 section 2.2
(introspection answers with the claims beside its own members), OpenID Connect Core 1.0 sections 2 and 5.1, Keycloak
26.7.3 (AccessToken, IDToken and its built-in client scopes).
"""

from __future__ import annotations

import re

__all__ = ["RESERVED_CLAIMS", "is_free_claim"]

_RESERVED = """
    iss sub aud azp exp iat nbf jti typ alg kid sid nonce acr amr auth_time session_state not-before-policy
    cnf act may_act at_hash c_hash s_hash htm htu ath events
    scope scp roles role groups entitlements permissions authorization authorization_details
    realm_access resource_access allowed-origins trusted-certs resource
    client_id clientid clienthost clientaddress
    active username token_type
    preferred_username upn name given_name family_name middle_name nickname profile picture website gender birthdate
    zoneinfo locale phone_number phone_number_verified address updated_at organization
"""
"""Line by line: what a token is, whose, for whom and for how long; what it is bound to, and on whose behalf it is used;
what it lets its bearer do (two lines); which client it was issued to; what introspection answers beside it; whose name
a verifier shows, or looks an account up by (two lines)."""
RESERVED_CLAIMS = frozenset(_RESERVED.split())
"""In small letters: a verifier may not mind the case, so `Sub` is none of ours either."""
_PREFIX = "email"
"""Everything about an address: verifiers link accounts by it."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


def is_free_claim(name: str) -> bool:
    r"""Tell whether a spec may set this claim.

    Neither dots nor backslashes: Keycloak takes `realm_access.roles` for `roles` within `realm_access` (and `\\.` for a
    dot). Nothing beyond ASCII: what looks like a name must be that name.
    """
    small = name.lower()
    return bool(_NAME.fullmatch(name)) and small not in RESERVED_CLAIMS and not small.startswith(_PREFIX)
