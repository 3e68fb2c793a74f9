"""What the backends hold of a user, and whether the realm has what the user is to be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedid.domain.conditions import Reason
from fedid.domain.grants import is_reserved_client
from fedid.domain.realm import IdentityProviderLink, RoleMappings, UserRecord, UserRules
from fedid.domain.user import DesiredUser, applied_in
from fedid.domain.user_steps import Notice, ObservedUser
from fedid.errors import BackendRejectedError, OwnershipConflictError
from fedid.reconcile.world import Backends

__all__ = [
    "existing_groups",
    "observe_user",
    "own_user",
    "require_free",
    "rules_for",
]

_SELF_SERVICE = "account"
"""The one client of Keycloak's own whose roles make nobody an administrator."""
_SERVERS_REALM = "master"
"""Where roles of the realm itself administer the server."""


async def observe_user(backends: Backends, status: Mapping[str, Any], desired: DesiredUser) -> ObservedUser:
    """Return what Keycloak holds of the user: ours, or one that nobody owns and that is to be taken over.

    Raises:
        OwnershipConflictError: The username is somebody else's.
    """
    provider, user_id = backends.identity_provider, status.get("userId")
    user = await provider.read_user(user_id) if user_id else None
    if user is None:
        found = await provider.find_user(desired.username)
        user = await provider.read_user(found.user_id) if found is not None and found.user_id else None
    recorded, notice = bool(user_id), Notice((status.get("notification") or {}).get("state") or Notice.NONE)
    if user is None or user.user_id is None:
        return ObservedUser(recorded=recorded)
    if user.owner != desired.owner and not _adoptable(user, desired):
        raise _taken(user, desired, backends)
    mappings = await provider.role_mappings(user.user_id)
    if user.owner != desired.owner and _administers(mappings, backends):
        raise _taken(user, desired, backends)
    return ObservedUser(
        user=user,
        groups=await provider.user_groups(user.user_id),
        mappings=mappings,
        applied=applied_in(status),
        recorded=recorded,
        notice=notice,
    )


async def own_user(backends: Backends, status: Mapping[str, Any], username: str, owner: str) -> UserRecord | None:
    """Return the account that we made or took over, whoever's mark it carries now, and nobody else's."""
    provider, user_id = backends.identity_provider, status.get("userId")
    user = await provider.read_user(user_id) if user_id else None
    if user is not None:
        return user
    # Made, or made anew after a hand deleted it, by a pass that did not come to its status.
    found = await provider.find_user(username)
    return found if found is not None and found.owner == owner else None


def _adoptable(user: UserRecord, desired: DesiredUser) -> bool:
    """Tell whether an account may be taken over: nobody's, and the very one that is named.

    Never a program's: no spec names a service account.
    """
    return desired.adopt and user.owner is None and user.username == desired.username


def _administers(mappings: RoleMappings, backends: Backends) -> bool:
    """Tell whether somebody holds a role of Keycloak's own: whoever may adopt must not get an administrator."""
    clients = {role.client_id or "" for role in mappings.client} - {_SELF_SERVICE}
    of_server = backends.federation.keycloak.realm == _SERVERS_REALM and bool(mappings.realm)
    return of_server or any(is_reserved_client(client) for client in clients)


def _taken(user: UserRecord, desired: DesiredUser, backends: Backends) -> OwnershipConflictError:
    whose = f"carries the owner mark {user.owner}" if user.owner else "carries no owner mark of fedid"
    what = f" ({user.object_name})" if user.object_name else ""
    advice = "Choose another spec.username (a new FederationUser), or have its owner delete the user"
    if user.owner is None and not desired.adopt:
        advice += ", or take it over with spec.adopt: true, which needs a grant"
    elif user.owner is None:
        advice = f"It administers the realm and is never taken over. {advice}"
    realm = backends.federation.keycloak.realm
    message = f"User {desired.username} of realm {realm} exists and {whose}{what}; it is left untouched. {advice}"
    return OwnershipConflictError(message, backend="keycloak")


async def rules_for(desired: DesiredUser, backends: Backends, *, new: bool) -> UserRules | None:
    """Return what the realm lets its users have, None if nothing of the user depends on it.

    Args:
        desired: What the user is to be.
        backends: Of its Federation.
        new: Whether the account may have to be made.

    Raises:
        BackendRejectedError: The realm has no such attribute (reason `AttributeMissing`) or required action (reason
            `RequiredActionMissing`), so Keycloak would drop it without a word.
    """
    attributes = desired.attributes.keys()
    actions = desired.required_actions if new else frozenset()
    if not (attributes or actions or desired.notify):
        return None

    def suffices(rules: UserRules) -> bool:
        declared = rules.takes_any_attribute or attributes <= rules.attributes
        return declared and actions <= rules.required_actions and (rules.sends_mail or not desired.notify)

    rules = await backends.identity_provider.user_rules(suffices)
    realm = backends.federation.keycloak.realm
    if not rules.takes_any_attribute and (undeclared := sorted(attributes - rules.attributes)):
        message = (
            f"the user profile of realm {realm} does not declare {', '.join(undeclared)} for administrators to edit, "
            "so Keycloak would drop it; declare it there (Realm settings, User profile), or take it out of the spec"
        )
        raise BackendRejectedError(message, backend="keycloak", reason=Reason.ATTRIBUTE_MISSING)
    if unknown := sorted(actions - rules.required_actions):
        message = (
            f"required action {', '.join(unknown)} is not there or switched off in realm {realm}; switch it on "
            "(Authentication, Required actions), or take it out of the spec"
        )
        raise BackendRejectedError(message, backend="keycloak", reason=Reason.REQUIRED_ACTION_MISSING)
    return rules


async def require_free(links: Iterable[IdentityProviderLink], desired: DesiredUser, backends: Backends) -> None:
    """See that nobody else is linked to these identities: Keycloak lets nobody in where two are.

    Raises:
        OwnershipConflictError: Somebody is; the message names the owner, never the user.
    """
    for link in sorted(links):
        # Ours by its mark: its id may not have come to the status.
        others = [u for u in await backends.identity_provider.linked_users(link) if u.owner != desired.owner]
        if others:
            owner, name = others[0].owner, others[0].object_name
            whose = f"who carries the owner mark {owner}" if owner else "who carries no owner mark of fedid"
            message = (
                f"The identity of spec.identityProviderLinks at {link.alias} is linked to another user of the realm, "
                f"{whose}{f' ({name})' if name else ''}; that one is left untouched. Take the link out of one of them"
            )
            raise OwnershipConflictError(message, backend="keycloak")


async def existing_groups(paths: frozenset[str], backends: Backends) -> Mapping[str, str]:
    """Return the ids of the groups.

    Raises:
        BackendRejectedError: One does not exist (reason `GroupMissing`).
    """
    found = await backends.identity_provider.group_ids(paths) if paths else {}
    if missing := sorted(paths - set(found)):
        realm = backends.federation.keycloak.realm
        what = f"group {', '.join(missing)} does not exist in realm {realm}"
        message = f"{what}; create it there, or take it out of spec.groups"
        raise BackendRejectedError(message, backend="keycloak", reason=Reason.GROUP_MISSING)
    return found
