"""Keycloak's representations to our records and back: pure.

Source: Keycloak Admin REST API, ClientRepresentation, ProtocolMapperRepresentation, UserRepresentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fedid.domain.realm import (
    OBJECT_ATTRIBUTE,
    OWNER_ATTRIBUTE,
    ClientRecord,
    IdentityProviderLink,
    ProtocolMapper,
    Role,
    UserRecord,
    UserRules,
)
from fedid.domain.sensitive import Sensitive

Representation = Mapping[str, Any]

ADMITTING: Final = frozenset({"ENABLED", "ADMIN_EDIT"})
"""Values of `unmanagedAttributePolicy` with which administrators may set attributes that are not declared."""
_MARKS: Final = frozenset({OWNER_ATTRIBUTE, OBJECT_ATTRIBUTE})
_ROTATED: Final = "client.secret.rotated"
"""Keycloak shows the previous secret itself among the attributes."""
_ROTATED_AT: Final = "client.secret.rotated.creation.time"
_URI_LISTS: Final = ("redirectUris", "webOrigins")
_URIS: Final = ("rootUrl", "baseUrl", "adminUrl")


def client_representation(client: ClientRecord) -> dict[str, Any]:
    """Return what to POST or PUT.

    PUT leaves alone what is absent, replaces `protocolMappers` as a whole and removes an attribute whose value is
    empty (which is how a mark is released). `notBefore` is only sent when there is one: putting it back to 0 would
    make old tokens valid again.
    """
    found: dict[str, Any] = {
        "id": client.client_uuid,
        "clientId": client.client_id,
        "protocol": "openid-connect",
        "description": client.description,
        "enabled": client.enabled,
        "clientAuthenticatorType": client.authenticator,
        "attributes": {
            **client.attributes,
            OWNER_ATTRIBUTE: client.owner or "",
            OBJECT_ATTRIBUTE: client.object_name or "",
        },
        "protocolMappers": [
            {
                "name": mapper.name,
                "protocol": "openid-connect",
                "protocolMapper": mapper.type,
                "config": dict(mapper.config),
            }
            for mapper in client.mappers
        ],
        **client.flags,
        # Only those that are named: an empty rootUrl at creation makes Keycloak redirect to anywhere below it.
        **{name: list(values) for name, values in client.uris.items() if name in _URI_LISTS},
        **{name: "".join(values) for name, values in client.uris.items() if name in _URIS},
    }
    if client.secret is not None:
        found["secret"] = client.secret.reveal()
    if client.not_before:
        found["notBefore"] = client.not_before
    return found


def client_record(found: Representation, *, with_secret: bool) -> ClientRecord:
    """Return a client as observed.

    Args:
        found: Keycloak's representation, which holds every client's secret.
        with_secret: Keep the secret, if the client carries an owner mark; without one it is not even looked at.
    """
    attributes: Mapping[str, str] = found.get("attributes") or {}
    owner = attributes.get(OWNER_ATTRIBUTE)
    shown = with_secret and owner
    secret, previous = (found.get("secret"), attributes.get(_ROTATED)) if shown else (None, None)
    since = attributes.get(_ROTATED_AT)
    return ClientRecord(
        client_uuid=found["id"],
        client_id=found["clientId"],
        owner=owner,
        object_name=attributes.get(OBJECT_ATTRIBUTE),
        description=found.get("description") or "",
        enabled=bool(found.get("enabled")),
        secret=Sensitive(secret) if secret else None,
        flags={name: value for name, value in found.items() if isinstance(value, bool) and name != "enabled"},
        attributes={name: value for name, value in attributes.items() if name not in {*_MARKS, _ROTATED}},
        mappers=tuple(
            sorted(
                (
                    ProtocolMapper(mapper["name"], mapper["protocolMapper"], mapper.get("config") or {})
                    for mapper in found.get("protocolMappers") or ()
                ),
                key=lambda mapper: mapper.name,
            )
        ),
        uris={
            **{name: tuple(found[name]) for name in _URI_LISTS if found.get(name)},
            **{name: (found[name],) for name in _URIS if found.get(name)},
        },
        authenticator=found.get("clientAuthenticatorType") or "",
        previous_secret=Sensitive(previous) if previous else None,
        previous_since=datetime.fromtimestamp(int(since), UTC) if previous and since and since.isdigit() else None,
        default_scopes=frozenset(found.get("defaultClientScopes") or ()),
        optional_scopes=frozenset(found.get("optionalClientScopes") or ()),
        not_before=int(found.get("notBefore") or 0),
    )


def user_representation(user: UserRecord) -> dict[str, Any]:
    """Return what to POST or PUT, without groups.

    Once `attributes` is present, PUT removes every attribute that is not, and e-mail and names as well, so all of them
    are always sent; an empty text removes one. Required actions and links that are absent stay as they are.
    """
    marks = {OWNER_ATTRIBUTE: user.owner, OBJECT_ATTRIBUTE: user.object_name}
    verified = {} if user.email_verified is None else {"emailVerified": user.email_verified}
    return {
        **verified,
        "username": user.username,
        "enabled": user.enabled,
        "email": user.email or "",
        "firstName": user.first_name or "",
        "lastName": user.last_name or "",
        "attributes": {
            **{name: list(values) for name, values in user.attributes.items()},
            **{name: [value] for name, value in marks.items() if value},
        },
    }


def new_user_representation(user: UserRecord, password: Sensitive | None) -> dict[str, Any]:
    """Return what to POST: the user with everything that comes with a create, its roles left out.

    Args:
        user: As desired.
        password: Temporary; None: the user has none, and nothing is hashed.
    """
    found = user_representation(user)
    if user.groups:
        found["groups"] = sorted(user.groups)
    if user.required_actions:
        found["requiredActions"] = sorted(user.required_actions)
    if user.links:
        found["federatedIdentities"] = [
            {"identityProvider": link.alias, "userId": link.user_id, "userName": link.user_name}
            for link in sorted(user.links)
        ]
    if password is not None:
        found["credentials"] = [{"type": "password", "value": password.reveal(), "temporary": True}]
    return found


def user_record(found: Representation) -> UserRecord:
    """Return a user as observed, groups not filled; links only where Keycloak tells them."""
    attributes: Mapping[str, list[str]] = found.get("attributes") or {}
    return UserRecord(
        user_id=found["id"],
        username=found["username"],
        owner=next(iter(attributes.get(OWNER_ATTRIBUTE) or ()), None),
        object_name=next(iter(attributes.get(OBJECT_ATTRIBUTE) or ()), None),
        enabled=bool(found.get("enabled")),
        email=found.get("email"),
        first_name=found.get("firstName"),
        last_name=found.get("lastName"),
        attributes={name: tuple(values) for name, values in attributes.items() if name not in _MARKS},
        email_verified=bool(found.get("emailVerified")),
        required_actions=frozenset(found.get("requiredActions") or ()),
        links=frozenset(
            IdentityProviderLink(link["identityProvider"], link["userId"], link.get("userName") or "")
            for link in found.get("federatedIdentities") or ()
        ),
    )


def user_rules(realm: Representation, profile: Representation, actions: Sequence[Representation]) -> UserRules:
    """Return what a realm lets its users have.

    Args:
        realm: RealmRepresentation.
        profile: UPConfig, as `users/profile` answers.
        actions: RequiredActionProviderRepresentations.
    """
    mail = realm.get("smtpServer") or {}
    return UserRules(
        attributes=frozenset(
            attribute["name"]
            for attribute in profile.get("attributes") or ()
            if "admin" in ((attribute.get("permissions") or {}).get("edit") or ())
        ),
        takes_any_attribute=profile.get("unmanagedAttributePolicy") in ADMITTING,
        required_actions=frozenset(action["alias"] for action in actions if action.get("enabled")),
        password_policy=realm.get("passwordPolicy") or "",
        sends_mail=bool(mail.get("host") and mail.get("from")),
    )


def role(found: Representation, *, client_id: str | None = None, client_uuid: str | None = None) -> Role:
    """Return a realm role, or one of the client given."""
    return Role(found["id"], found["name"], client_id, client_uuid, composite=bool(found.get("composite")))
