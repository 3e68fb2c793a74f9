"""A backend that goes away while identities are made, changed and deleted: how it goes, and who lives through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.authority import Authority, claims_of
from tests.e2e.estate import estate_of, expected_estate
from tests.e2e.operating import Proxies, federation, own_federation
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.faults import CutAfter, Hang, Rule, Status, nth_of_each, requests_to
from tests.testbed.proxy import Proxy, proxy_for
from tests.testbed.stack import Stack

AWAY = ("refuses connections", "hangs", "answers 503")
"""The ways to be away that last until somebody mends them."""
PATIENCE_SECONDS = 120.0
"""A request that hangs is given up after 15 s, and there may be several in a row."""
WRITES = requests_to(".*/(admin|v1|api|apis)/.*", "POST|PUT|PATCH|DELETE")


@contextmanager
def away(proxy: Proxy, way: str) -> Iterator[None]:
    """Take a backend away in one of the ways of AWAY, with every connection that is open, and bring it back."""
    if way == "hangs":
        proxy.inject(Hang())
    elif way == "answers 503":
        proxy.inject(Status(503))
    proxy.refuse()
    if way != "refuses connections":
        proxy.accept()
    try:
        yield
    finally:
        proxy.heal()
        proxy.accept()


@contextmanager
def losing_answers(proxy: Proxy) -> Iterator[Rule]:
    """Carry out every write, and lose the answer to the first one of each kind to each thing."""
    rule = proxy.inject(CutAfter(), nth_of_each(WRITES))
    try:
        yield rule
    finally:
        rule.lift()


@contextmanager
def federation_behind(stack: Stack, proxies: Proxies, backend: str) -> Iterator[tuple[str, Proxy]]:
    """Make a Federation that reaches one backend by a proxy of its own, so that the shared one stays healthy."""
    with proxy_for(stack, backend) as proxy:
        section = {**federation(stack, proxies)["spec"][backend], "url": proxy.url}
        with own_federation(stack, proxies, f"behind-{backend}", **{backend: section}) as name:
            yield name, proxy


@dataclass(slots=True)
class Cast:
    """Identities to live through an outage: some are made in it, some changed, some deleted, some left alone."""

    tenant: Tenant
    authority: Authority
    federation: str | None = None
    """None: the default one."""
    ending_token: str = ""
    ending_secret: str = ""
    # Names of their own, since a realm knows no namespaces.
    new_user: str = field(default_factory=lambda: unique("new"))
    changed_user: str = field(default_factory=lambda: unique("changed"))
    ended_user: str = field(default_factory=lambda: unique("ended"))

    def settle(self) -> None:
        """Make those who are there before, and wait until they are Ready."""
        for name in ("changed", "ended", "still"):
            self.tenant.apply(self._bot(name), pod_identity(name))
        self.tenant.apply(pod_identity("parting", "still"))
        self.tenant.apply(*(self._user(name) for name in (self.changed_user, self.ended_user)))
        for name in ("changed", "ended", "still"):
            self.tenant.ready("PodIdentity", name, seconds=PATIENCE_SECONDS)
        for name in (self.changed_user, self.ended_user):
            self.tenant.ready("FederationUser", name, seconds=PATIENCE_SECONDS)
        self.tenant.ready("PodIdentity", "parting")
        self.ending_token = self.tenant.mounted("ended", "token")
        self.ending_secret = (self.authority.vault(self.path("ended", "client")) or {})["client_secret"]
        assert self.authority.admin_api_status(self.ending_token) == 403

    def act(self) -> None:
        """Ask for everything at once: create, change and delete each kind."""
        self.tenant.apply(self._bot("new"), pod_identity("new"), self._user(self.new_user))
        self.tenant.apply(self._bot("changed", realmRoles=["fl-member"]))
        self.tenant.apply(pod_identity("changed", files={"jwt": "{token}"}))
        self.tenant.apply(self._user(self.changed_user, groups=["/sites/b"], realmRoles=["fl-admin"]))
        self.tenant.delete("BotClient", "ended")
        self.tenant.delete("FederationUser", self.ended_user)
        self.tenant.delete("PodIdentity", "parting")

    def assert_converged(self) -> None:
        """Wait until all is as the manifests say, and see that nothing was lost or made twice."""
        for name in ("new", "changed", "still"):
            self.tenant.ready("BotClient", name, seconds=PATIENCE_SECONDS)
            self.tenant.ready("PodIdentity", name, seconds=PATIENCE_SECONDS)
        for name in (self.new_user, self.changed_user):
            self.tenant.ready("FederationUser", name, seconds=PATIENCE_SECONDS)
        self.tenant.gone("BotClient", "ended", seconds=PATIENCE_SECONDS)
        self.tenant.gone("FederationUser", self.ended_user, seconds=PATIENCE_SECONDS)
        self._assert_tokens()
        self._assert_users()
        wanted = expected_estate(
            self.tenant.namespace,
            bots=("new", "changed", "still"),
            users=(self.new_user, self.changed_user),
            pods=("new", "changed", "still", "ended"),
        )
        eventually(lambda: estate_of(self.tenant.stack, self.tenant.namespace) == wanted, f"nothing but {wanted}")

    def assert_withdrawn(self) -> None:
        """Wait until the consumers of the deleted bot have nothing left in their files."""
        eventually(
            lambda: set((self.tenant.secret("ended") or {})["text"].values()) == {""}, "the Secret `ended` is emptied"
        )

    def assert_ended_at_authority(self) -> None:
        """See that Keycloak refuses what the deleted bot had."""
        assert self.authority.admin_api_status(self.ending_token) == 401
        answer = self.authority.request_token(f"{self.tenant.namespace}.ended", self.ending_secret)
        assert (answer.status, answer.body["error"]) == (401, "invalid_client")

    def path(self, name: str, leaf: str) -> str:
        """Return a Vault path of a bot."""
        return f"fedid/{self.tenant.namespace}/bots/{name}/{leaf}"

    def _assert_tokens(self) -> None:
        self.assert_ended_at_authority()
        assert self.authority.introspect(self.ending_token)["active"] is False
        self.assert_withdrawn()
        for name, key, role in (
            ("new", "token", "fl-client"),
            ("changed", "jwt", "fl-member"),
            ("still", "token", "fl-client"),
        ):
            published = (self.authority.vault(self.path(name, "tokens/default")) or {})["token"]
            assert claims_of(published)["realm_access"]["roles"].count(role) == 1
            assert self.authority.introspect(published)["active"] is True
            self.tenant.mounted(name, key, published.__eq__)
        uuid = (self.tenant.get("BotClient", "changed") or {})["status"]["clientUuid"]
        assert self.authority.service_account_roles(uuid) == {"fl-member"}

    def _assert_users(self) -> None:
        assert self.authority.user(self.ended_user) is None
        wanted = ((self.new_user, "/sites/a", "fl-member"), (self.changed_user, "/sites/b", "fl-admin"))
        for name, group, role in wanted:
            account = self.authority.user(name) or {}
            assert self.authority.groups(account["id"]) == {group}
            assert self.authority.realm_roles(account["id"]) == {role}

    def _bot(self, name: str, **spec: object) -> Body:
        return bot(name, **self._reference(), **spec)

    def _user(self, name: str, **spec: object) -> Body:
        return user(name, **self._reference(), **spec)

    def _reference(self) -> dict[str, object]:
        return {"federationRef": {"name": self.federation}} if self.federation else {}
