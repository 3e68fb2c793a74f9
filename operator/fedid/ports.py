"""What the reconcilers need from the world, as Protocols; adapters implement them, fakes do too.

Rules for every implementation: errors leave only as `fedid.errors` classes; "not found" on a read is None; "already
gone" on a delete is success; after `BackendUnavailableError.outcome_unknown` the caller reads back before repeating.
No method retries a write by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from fedid.domain.access import KeycloakAccess, KeycloakCredentials, VaultAccess, VaultCredentials
from fedid.domain.drift import AdminEvent, Page
from fedid.domain.label_selector import LabelSelector
from fedid.domain.pods import Nudge, Pod
from fedid.domain.realm import (
    ClientRecord,
    ClientScope,
    RealmFacts,
    RealmScopes,
    Role,
    RoleMappings,
    SecretPolicy,
    UserRecord,
)
from fedid.domain.reload_report import Loaded
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret, Retention, StoredEntry, StoreFacts, VaultMark
from fedid.domain.super_node import NodeRecord, SuperLinkAccess
from fedid.domain.tokens import ClientAuthentication, MintedToken, TokenClaims
from fedid.domain.workloads import Owner, Workload

__all__ = [
    "BackendFactory",
    "Clock",
    "Cluster",
    "DriftMeter",
    "Entries",
    "IdentityProvider",
    "NodeRegistry",
    "SecretStore",
    "Sidecars",
]


class DriftMeter(Protocol):
    """Counts what the search for changes made by hand costs and finds."""

    def events(self, count: int) -> None:
        """Count admin events of others that were read."""

    def page(self, objects: int) -> None:
        """Count one page of a sweep and the objects on it."""

    def swept(self, seconds: float) -> None:
        """Count a sweep that is complete, and how long it took."""

    def woken(self, found_by: str, count: int) -> None:
        """Count objects that are looked at because of `events` or of a `sweep`."""


class Clock(Protocol):
    """The operator's own clocks."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back, of unknown origin; the work queue's time."""


class IdentityProvider(Protocol):
    """One Keycloak realm, seen as the operator's client."""

    async def probe(self) -> RealmFacts:
        """Check that the realm answers, that we may do our work, and what its issuer is.

        Bypasses an open breaker and closes it on success.

        Raises:
            BackendUnavailableError: No answer (its message says refused, timeout or certificate).
            BackendDeniedError: Our client is refused (`invalid_client`) or may not read the realm.
            BackendRejectedError: The realm does not exist (reason `RealmNotFound`).
        """

    def server_now(self) -> datetime:
        """Return a lower bound of Keycloak's clock in whole seconds, aware UTC: tokens from now on say this or later.

        Keycloak sends no `Date`; the bounds come from the `iat` of tokens (our own and bots') plus the time since.

        Raises:
            BackendUnavailableError: There was no token yet; `probe` fetches one.
        """

    def server_now_at_most(self) -> datetime:
        """Return an upper bound of Keycloak's clock in whole seconds, aware UTC: tokens until now say this or earlier.

        What was deleted now is covered by a later `notBefore` only once `server_now()` is beyond this.

        Raises:
            BackendUnavailableError: There was no token yet; `probe` fetches one.
        """

    @property
    def operator_client_id(self) -> str:
        """The clientId that the operator itself signs in with."""

    async def create_client(self, client: ClientRecord) -> bool:
        """Create a client under the id, secret and notBefore given; False if its id or clientId is taken (409).

        Raises:
            BackendRejectedError: Keycloak refuses the representation.
        """

    async def read_client(self, client_uuid: str) -> ClientRecord | None:
        """Return the client by internal id. `secret` is filled; the caller looks at `owner` before it uses it."""

    async def find_client(self, client_id: str) -> ClientRecord | None:
        """Return the client by clientId, without its secret."""

    async def update_client(self, client: ClientRecord) -> None:
        """Make the existing client equal to the record (a secret of None stays, mappers are replaced).

        A `not_before` of 0 stays as it is, flags and attributes that the record does not name stay, an owner of None
        takes the mark off.

        Raises:
            StaleObjectError: The client is gone. So it is with every write to, or list of, something that is gone.
        """

    async def delete_client(self, client_uuid: str) -> None:
        """Delete the client; success if it is gone."""

    async def service_account_id(self, client_uuid: str) -> str:
        """Return the user id of the client's service account (the `sub` of its tokens)."""

    async def realm_scopes(self, names: frozenset[str]) -> RealmScopes:
        """Return the realm's OpenID Connect client scopes, from a cache that is filled when one of these is missing."""

    async def add_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Give the client a scope that it has in neither way; one that it has stays as it is."""

    async def remove_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Take a scope from the client, whichever way it has it; one that it has not is no error."""

    async def realm_roles(self, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those of the named realm roles that exist, from a cache that is filled when one is missing in it."""

    async def client_roles(self, client_id: str, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those of the named roles of a client that exist, cached likewise; empty if there is no such client."""

    async def role_mappings(self, user_id: str) -> RoleMappings:
        """Return the roles mapped directly to a user, the realm's own `default-roles-*` left out."""

    async def add_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Map roles to a user: one call for all realm roles, one per client for client roles."""

    async def remove_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Unmap roles from a user, likewise."""

    async def create_user(self, user: UserRecord) -> str | None:
        """Create a user with its groups (not its roles); return its id, None if the username is taken (409).

        Raises:
            OwnershipConflictError: The e-mail address belongs to another user.
            BackendRejectedError: Keycloak refuses a field (the message names it) or a group does not exist.
        """

    async def read_user(self, user_id: str) -> UserRecord | None:
        """Return the user by id, groups not filled."""

    async def find_user(self, username: str) -> UserRecord | None:
        """Return the user by exact username, groups not filled."""

    async def user_groups(self, user_id: str) -> Mapping[str, str]:
        """Return the user's direct groups: path to group id."""

    async def group_ids(self, paths: frozenset[str]) -> Mapping[str, str]:
        """Return those of the group paths that exist with their ids, cached."""

    async def update_user(self, user: UserRecord) -> None:
        """Make the existing user's own fields equal to the record (groups and roles untouched).

        Raises:
            OwnershipConflictError: The e-mail address belongs to another user.
        """

    async def join_group(self, user_id: str, group_id: str) -> None:
        """Add the user to a group."""

    async def leave_group(self, user_id: str, group_id: str) -> None:
        """Take the user out of a group."""

    async def end_sessions(self, user_id: str) -> None:
        """End the user's sessions, offline sessions included; success if the user is gone."""

    async def delete_user(self, user_id: str) -> None:
        """Delete the user; success if it is gone."""

    async def secret_policy(self, attributes: Mapping[str, str]) -> SecretPolicy | None:
        """Return the realm's policy that lets a client with these attributes have two secrets, cached, or None."""

    async def keep_secret(self, client_uuid: str) -> bool:
        """Put a secret of Keycloak's in the place of the one in use, which stays good as the previous one.

        Returns:
            False if it does not: the realm has no such policy, and the former secret ended at once.

        Raises:
            StaleObjectError: The client is gone.
        """

    async def end_previous_secret(self, client_uuid: str) -> None:
        """End the previous secret; success if there is none, or the client is gone."""

    async def mint(self, credentials: ClientAuthentication, scopes: frozenset[str] = frozenset()) -> MintedToken | None:
        """Request a token with client credentials and verify it locally; None if refused (`invalid_client`).

        Args:
            credentials: Of the client.
            scopes: Client scopes to ask for beside the client's default ones.

        Raises:
            BackendRejectedError: Another refusal, or a token that our own check rejects.
        """

    async def verify(self, token: Sensitive) -> TokenClaims | None:
        """Return the claims if this realm signed the token (expired or not), else None. Normally no call."""

    async def token_accepted(self, token: Sensitive) -> bool:
        """Ask Keycloak whether it accepts the token: `GET /admin/realms/<realm>` answers 403 (yes) or 401 (no)."""

    async def credentials_refused(self, credentials: ClientAuthentication) -> bool:
        """Present secret or key at the token endpoint; True if the client or what it presents is not accepted.

        Raises:
            BackendRejectedError: Refused for another reason (time, audience), which proves nothing about them.
        """

    async def authenticates(self, credentials: ClientAuthentication) -> bool:
        """Tell whether a client with a secret or key authenticates so, also where it may not get tokens for itself.

        Raises:
            BackendRejectedError: Refused for another reason, which proves nothing about them.
        """

    async def revoke(self, token: Sensitive, credentials: ClientAuthentication) -> None:
        """Revoke the token (RFC 7009) as the client it was issued to; success if it is not valid any more."""

    async def clients_page(self, owner_prefix: str, first: int, size: int) -> Page[ClientRecord]:
        """Return those of `size` clients from the `first` on whose owner mark begins so, with their secrets.

        Nothing of the others leaves the adapter. Clients that come or go meanwhile move the pages: one may be missed.
        """

    async def users_page(self, owner_prefix: str, first: int, size: int) -> Page[UserRecord]:
        """Return users whose owner mark begins so, a page of them; groups not filled."""

    async def all_roles(self, client_id: str | None) -> tuple[Role, ...]:
        """Return all roles of the realm (None) or of a client, afresh, the realm's `default-roles-*` left out."""

    async def all_groups(self, at_most: int) -> Mapping[str, str]:
        """Return the realm's groups, path to id, afresh; once more than so many were met, the rest is left out."""

    async def role_members(self, role: Role, first: int, size: int) -> tuple[str, ...]:
        """Return the ids of `size` users, service accounts included, to whom the role is mapped directly.

        Raises:
            StaleObjectError: The role is gone.
        """

    async def group_members(self, group_id: str, first: int, size: int) -> tuple[str, ...]:
        """Return the ids of `size` direct members of the group.

        Raises:
            StaleObjectError: The group is gone.
        """

    async def clients_of_subject(self, subject: str) -> tuple[ClientRecord, ...]:
        """Return the clients, whoever made them, that take assertions of this subject; without their secrets.

        It reads all clients, page by page.
        """

    async def admin_events(self, since: datetime, first: int, size: int) -> Page[AdminEvent]:
        """Return what others than the operator's own client changed since then (Keycloak's clock), oldest first.

        An event is stored when its change is committed, so one may appear that is older than the newest seen.

        Raises:
            BackendDeniedError: The operator's client may not read them.
        """

    async def aclose(self) -> None:
        """Close its connections."""


class Entries(Protocol):
    """The entries of one KV mount of Vault, paths relative to the mount (e.g. `fedid/site-a/bots/trainer/client`)."""

    async def read(self, path: str, owner: str) -> StoredEntry | None:
        """Return what lies at the path; data only if it carries this owner mark.

        Raises:
            BackendRejectedError: The mount does not exist or is no KV engine (reason `MountMismatch`).
        """

    async def read_unmarked(self, path: str) -> StoredEntry | None:
        """Return what a person laid at the path; no data if it carries an owner mark, whosever.

        Only for a place that a grant lists: nothing else says who may see it.

        Raises:
            BackendRejectedError: As `read`.
        """

    async def write(
        self, path: str, data: Mapping[str, Sensitive], mark: VaultMark, *, version: int | None, retention: Retention
    ) -> int:
        """Write data under our mark and return the new version (0 on KV v1).

        `version` is what `read` saw (check-and-set); None: it found nothing, so the mark is made first, then the data
        with cas=0.

        Raises:
            OwnershipConflictError: Somebody else's mark, or data without one, lies there.
            StaleObjectError: Somebody wrote in between.
        """

    async def destroy(self, path: str, owner: str) -> bool:
        """Delete the entry with all versions and metadata and read back that it is gone.

        Returns:
            True if it is gone (or never was), False if a stranger's entry lies there and was left alone.
        """

    async def names(self, folder: str) -> tuple[str, ...]:
        """Return the entry names directly below a folder (sub-folders left out), sorted; empty if there is none."""


class SecretStore(Entries, Protocol):
    """The KV mount of a Federation, and the way to others in the same Vault."""

    def at(self, mount: str) -> Entries:
        """Return the entries of a mount, this one or another, of whichever KV version; connects to nothing yet."""

    async def probe(self, prefix: str) -> StoreFacts:
        """Check that Vault is unsealed, lets us in, and lets us work below the prefix.

        Bypasses an open breaker and closes it on success.

        Raises:
            BackendUnavailableError: No answer, or sealed (reason `VaultSealed`) or not initialised.
            BackendDeniedError: The login is refused.
            BackendRejectedError: The mount does not exist or is of the other KV version (reason `MountMismatch`).
        """

    async def aclose(self) -> None:
        """Revoke our own login token where possible and close connections."""


class NodeRegistry(Protocol):
    """The SuperNodes that one SuperLink knows, as one of its accounts sees them.

    `account` is the access token to act as; None where the SuperLink has no accounts.
    """

    async def register(self, public_key: bytes, name: str, account: Sensitive | None = None) -> int | None:
        """Register a key under a name and return its node id, None if the key is in use, or was and is burnt.

        Raises:
            BackendDeniedError: The SuperLink refuses the account, or wants one.
            BackendRejectedError: It refuses the key, or is none (reason `UnexpectedAnswer`).
        """

    async def nodes(self, account: Sensitive | None = None) -> tuple[NodeRecord, ...]:
        """Return all nodes of the account; unregistered ones stay listed."""

    async def unregister(self, node_id: int, account: Sensitive | None = None) -> None:
        """Refuse a node from now on, and its key for ever; success if there is no such node of the account."""

    async def aclose(self) -> None:
        """Close its connections."""


class Cluster(Protocol):
    """The Kubernetes API as far as the reconcilers write to it or must read it afresh."""

    async def listing(self, kind: str) -> tuple[Mapping[str, object], ...]:
        """Return all objects of one of our kinds, or of `Namespace`, afresh (in chunks), `kind` filled in each."""

    async def read(self, kind: str, namespace: str | None, name: str) -> Mapping[str, object] | None:
        """Return one custom resource (by kind, e.g. `BotClient`), afresh."""

    async def set_finalizers(
        self, body: Mapping[str, object], finalizers: tuple[str, ...]
    ) -> Mapping[str, object] | None:
        """Replace the finalizers of that very object; None if it is gone (also when this removed it).

        Raises:
            StaleObjectError: It changed since `body` was read.
        """

    async def patch_status(
        self, body: Mapping[str, object], patch: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        """Merge-patch the status of that very object (by uid), whatever its spec is by now; None if it is gone.

        Raises:
            StaleObjectError: Others change it faster than we can write.
        """

    async def read_secret(self, namespace: str, name: str) -> MountedSecret | None:
        """Return a Secret afresh; its data only if a PodIdentity controls it.

        One that we may no longer read because its namespace is being deleted counts as gone.
        """

    async def create_secret(self, secret: MountedSecret) -> MountedSecret | None:
        """Create a Secret (POST); None if the name is taken.

        Raises:
            BackendRejectedError: Quota or an invalid object. BackendDeniedError: RBAC.
        """

    async def replace_secret(self, secret: MountedSecret) -> MountedSecret:
        """Replace data, labels and annotations of that very Secret (uid and resourceVersion as preconditions).

        Raises:
            StaleObjectError: It changed or is gone.
        """

    async def delete_secret(self, namespace: str, name: str, uid: str) -> None:
        """Delete that very Secret; success if it is gone or another uid now has the name."""

    async def pods(self, namespace: str, selector: LabelSelector) -> tuple[Pod, ...]:
        """Return the pods of a namespace that the selector picks and that have not finished, afresh (in chunks).

        None of a namespace that is being deleted and where we have no rights any more.

        Raises:
            BackendDeniedError: RBAC: we may not list pods there.
            BackendRejectedError: The API server does not understand the selector.
        """

    async def nudge_pod(self, pod: Pod, nudge: Nudge) -> bool:
        """Set the nudge's annotation on that very pod (by uid), and nothing else; False if it is gone.

        Raises:
            BackendDeniedError: RBAC: we may not patch pods there.
            BackendRejectedError: An admission policy or webhook refuses it.
        """

    async def workload_of(self, pod: Pod) -> Workload | Owner | None:
        """Return the Deployment, StatefulSet or DaemonSet that controls a pod, directly or by its ReplicaSet, afresh.

        Another kind of controller is returned as what it is; None: nobody controls it, or who did is gone.

        Raises:
            BackendDeniedError: RBAC: we may not get it.
        """

    async def restart_workload(self, workload: Workload, started_for: Mapping[str, str], at: datetime) -> bool:
        """Have a workload replace its pods as its own strategy says, as `kubectl rollout restart` does.

        Args:
            workload: That very one (by uid and resourceVersion); nothing but two annotations of its template changes.
            started_for: What the template's annotation is to say: name of a Secret to fingerprint of its content.
            at: Now (aware UTC).

        Returns:
            False if it is gone, or going with its namespace.

        Raises:
            StaleObjectError: It changed since it was read.
            BackendDeniedError: RBAC: we may not patch it.
            BackendRejectedError: An admission policy or webhook refuses it.
        """

    async def read_own_secret(self, name: str) -> Mapping[str, Sensitive] | None:
        """Return a Secret of the operator's own namespace (Federation access)."""

    async def installation_id(self) -> str:
        """Return the installation id, made at the first start and kept in the operator's namespace."""

    async def emit(self, body: Mapping[str, object], *, reason: str, message: str, warning: bool, action: str) -> None:
        """Tell an Event about the object; never raises for a refused or lost Event."""


class Sidecars(Protocol):
    """The sidecars in pods that signal a program when its Secret has changed."""

    async def loaded(self, pod: Pod) -> Loaded:
        """Ask the sidecar of a pod, which has an address and a port for it, what its program has read.

        Raises:
            BackendUnavailableError: No answer in time.
            BackendRejectedError: What answers there is no sidecar of ours, or the address is none that a pod has.
        """

    async def aclose(self) -> None:
        """Close its connections."""


class BackendFactory(Protocol):
    """Makes the adapters of one Federation; the composition root is the one that knows the concrete ones."""

    def identity_provider(self, access: KeycloakAccess, credentials: KeycloakCredentials) -> IdentityProvider:
        """Return the realm's adapter; connects to nothing yet.

        Args:
            access: Where the realm is.
            credentials: The operator's own.

        Raises:
            InvalidSpecError: The CA bundle is no certificate.
        """

    def secret_store(self, access: VaultAccess, credentials: VaultCredentials) -> SecretStore:
        """Return the mount's adapter; connects to nothing yet.

        Args:
            access: Where Vault is.
            credentials: The operator's own.

        Raises:
            InvalidSpecError: The CA bundle is no certificate.
        """

    def node_registry(self, access: SuperLinkAccess) -> NodeRegistry:
        """Return the adapter of a SuperLink; connects to nothing yet.

        Args:
            access: Where the SuperLink is.

        Raises:
            InvalidSpecError: The URL or the CA bundle is unusable.
        """
