"""The window that no revocation can close, measured: a verifier that checks signatures and asks nobody."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from tests.e2e.authority import REALM, Authority, claims_of
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

LIFETIME = 30
"""Seconds; short, since the test has to see its end."""
TOLD = re.compile(r"may take a published token until (\S+Z), and one that a pod got by itself until (\S+Z)")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A server that read the realm's keys once (RFC 7517) and checks tokens with them alone (RFC 9068 section 4)."""

    keys: Mapping[str, jwt.PyJWK]
    issuer: str

    @classmethod
    def started(cls, stack: Stack) -> Verifier:
        """Read the keys."""
        found = stack.keycloak("GET", f"/realms/{REALM}/protocol/openid-connect/certs")
        signing = [key for key in found["keys"] if key.get("use") == "sig"]
        return cls({key["kid"]: jwt.PyJWK(key) for key in signing}, f"{stack.keycloak_url}/realms/{REALM}")

    def takes(self, token: str) -> bool:
        """Check one token, as it would be in a request."""
        key = self.keys[jwt.get_unverified_header(token)["kid"]]
        try:
            jwt.decode(token, key, algorithms=[key.algorithm_name], audience="superlink", issuer=self.issuer)
        except jwt.ExpiredSignatureError:
            return False
        return True

    def last_takes(self, *tokens: str) -> list[float]:
        """Present tokens until all are refused, and return when each was taken last (seconds since the epoch)."""
        taken: dict[str, float] = {}

        def refused() -> bool:
            now = time.time()
            good = [token for token in tokens if self.takes(token)]
            taken.update(dict.fromkeys(good, now))
            return not good

        eventually(refused, "the verifier refuses all tokens", seconds=3 * LIFETIME)
        return [taken[token] for token in tokens]


def test_the_window_ends_when_the_status_says(
    stack: Stack, proxies: Proxies, tenant: Tenant, authority: Authority
) -> None:
    """Keycloak refuses at once; the verifier takes both tokens beyond that, and neither beyond what was told of it."""
    verifier = Verifier.started(stack)
    with own_federation(stack, proxies, "window", grants=[grant()]) as federation:
        named: dict[str, Any] = {"federationRef": {"name": federation}}
        tokens = [{"name": "default", "lifetime": f"{LIFETIME}s"}]
        tenant.apply(bot("trainer", tokens=tokens, **named), pod_identity("trainer"))
        tenant.ready("BotClient", "trainer")
        tenant.ready("PodIdentity", "trainer")
        secret = tenant.mounted("trainer", "client.env").partition("CLIENT_SECRET=")[2].partition("\n")[0]
        first = tenant.mounted("trainer", "token")
        # Right after a renewal the next one is a whole period away.
        published = tenant.mounted("trainer", "token", lambda text: text not in {"", first})

        def later() -> str | None:
            got = str(authority.request_token(f"{tenant.namespace}.trainer", secret).body["access_token"])
            return got if claims_of(got)["exp"] > claims_of(published)["exp"] else None

        by_pod = eventually(later, "a token that lives longer than the published one")
        assert verifier.takes(published)
        assert verifier.takes(by_pod)

        tenant.apply(bot("trainer", tokens=tokens, suspend=True, **named))
        tenant.reason("BotClient", "trainer", "Suspended")
        told = (tenant.condition("BotClient", "trainer", "Revoked") or {})["message"]
        for token in (published, by_pod):
            assert not authority.introspect(token)["active"]
            assert authority.admin_api_status(token) == 401
        closed = time.time()
        instants = TOLD.search(told)
        assert instants is not None, told
        until = [datetime.fromisoformat(text).timestamp() for text in instants.groups()]
        lasts = [claims_of(token)["exp"] for token in (published, by_pod)]
        assert until[0] == lasts[0], "a published token is known, and so is its end"
        assert lasts[1] <= until[1] <= lasts[1] + LIFETIME, "nobody knows of the other, so it is a bound"
        windows = verifier.last_takes(published, by_pod)
        assert closed < windows[0] <= until[0], "open beyond the refusal, and no longer than told"
        assert until[0] < windows[1] <= until[1], "what is told of the published one is not all"
        tenant.clean()
