"""What Keycloak and Vault hold of a bot: only the reads that the decision needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedid.domain.bot import TWO_SECRETS, DesiredBot, has_secret
from fedid.domain.bot_authentication import BotAuthentication
from fedid.domain.bot_keys import HeldKeys, KeyReader, held_keys
from fedid.domain.bot_steps import ObservedBot, Recorded
from fedid.domain.conditions import instant_in
from fedid.domain.grants import is_reserved_client
from fedid.domain.handover import Handover
from fedid.domain.key_plan import signs
from fedid.domain.naming import ObjectKey, client_uuid
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord, RoleMappings
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import Location, OpaqueToken, delivered_to, opaque_in
from fedid.domain.tokens import TokenClaims
from fedid.errors import OwnershipConflictError, StaleObjectError
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.world import Backends

__all__ = ["StoredCredentials", "client_of_bot", "observe_bot", "observe_keys", "observe_stored", "recorded_in"]


@dataclass(slots=True)
class StoredCredentials:
    """What lies in Vault at the paths of a bot."""

    client: StoredEntry | None = None
    """The bot secret, or the keys."""
    tokens: dict[str, StoredEntry] = field(default_factory=dict)
    """By token name."""
    claims: dict[str, TokenClaims] = field(default_factory=dict)
    """By token name; verified, for those that are tokens of this very client."""
    opaque: dict[str, OpaqueToken] = field(default_factory=dict)
    """By token name, for those that are well-formed."""
    strangers: dict[str, str] = field(default_factory=dict)
    """Path to whose it is, for what somebody else put there; nothing of it was read."""

    @property
    def locations(self) -> dict[str, Location]:
        """Where copies lie, or were about to be written, by token name."""
        found = {name: delivered_to(entry.data) for name, entry in self.tokens.items()}
        return {name: place for name, place in found.items() if place is not None}


async def observe_bot(  # noqa: PLR0913 - what is looked at, and how far
    backends: Backends,
    bot: ObjectKey,
    desired: DesiredBot,
    *,
    status: Mapping[str, Any],
    look: bool,
    handover: Handover,
    read_key: KeyReader,
) -> ObservedBot:
    """Return what the backends hold.

    Args:
        backends: Of the bot's Federation.
        bot: Which one.
        desired: What it is to be: Keycloak's id of its client, whether that exists or not, its clientId, to find a
            stranger by, and our owner mark.
        status: As last written.
        look: Whether Keycloak is asked too; without, only Vault is.
        handover: How far the newest secret, or key, has come to those who mount it, as far as statuses tell.
        read_key: Reads private keys.

    Raises:
        OwnershipConflictError: The clientId is somebody else's.
    """
    client, unowned, subject, mappings, policy = None, None, None, None, None
    if look:
        client, unowned = await _client(backends, desired)
        if client is not None and has_secret(desired):
            policy = await backends.identity_provider.secret_policy({**client.attributes, TWO_SECRETS: "true"})
        if client is not None and client.flags.get(SERVICE_ACCOUNTS):
            subject, mappings = await _service_account(
                backends, client.client_uuid, status.get("serviceAccountSubject")
            )
    stored = await observe_stored(backends, bot, desired.owner, desired.client_id, desired.authentication)
    for path, whose in stored.strangers.items():
        raise _taken(path, whose)
    copies = await _copies(backends, stored, desired.owner)
    return ObservedBot(
        keycloak_seen=look,
        client=client,
        unowned=unowned,
        mappings=mappings,
        subject=subject,
        stored_client=stored.client,
        keys=_keys(stored.client, desired, read_key),
        stored_tokens=stored.tokens,
        claims=stored.claims,
        opaque=stored.opaque,
        policy=policy,
        copies=copies,
        handover=handover,
        recorded=recorded_in(status),
    )


async def observe_keys(backends: Backends, bot: ObjectKey, desired: DesiredBot) -> StoredEntry | None:
    """Return what Vault has of the keys of a bot that may not have been made yet: a crash may have left some there.

    Raises:
        OwnershipConflictError: Somebody else's entry lies there.
    """
    if not signs(desired):
        return None
    path = BotPaths(backends.federation.vault.path_prefix, bot).key
    strangers: dict[str, str] = {}
    stored = _own(await backends.secret_store.read(path, desired.owner), path, desired.owner, strangers)
    if strangers:
        raise _taken(path, strangers[path])
    return stored


def _keys(stored: StoredEntry | None, desired: DesiredBot, read_key: KeyReader) -> HeldKeys:
    return held_keys(stored.data, read_key) if stored is not None and signs(desired) else HeldKeys()


def _taken(path: str, whose: str) -> OwnershipConflictError:
    message = f"Vault path {path} exists and {whose}; it is left untouched. Have its owner remove it"
    return OwnershipConflictError(message, backend="vault")


async def _copies(backends: Backends, stored: StoredCredentials, owner: str) -> dict[str, StoredEntry | None]:
    """Return what lies where the entries say that copies are; of a stranger's only that it is there.

    That is no reason to stop here: the tokens themselves go on being renewed, and the step that would write says it.
    """
    return {
        name: await backends.secret_store.at(place.mount).read(place.path, owner)
        for name, place in stored.locations.items()
    }


async def _service_account(backends: Backends, client_uuid: str, subject: str | None) -> tuple[str, RoleMappings]:
    """Return the user id of the service account and its roles; one that was deleted is made anew by Keycloak."""
    provider = backends.identity_provider
    if subject is not None:
        try:
            return subject, await provider.role_mappings(subject)
        except StaleObjectError:
            pass  # somebody deleted it, or switched it off and on
    subject = await provider.service_account_id(client_uuid)
    return subject, await provider.role_mappings(subject)


async def client_of_bot(
    backends: Backends, status: Mapping[str, Any], *, uid: str, client_id: str, owner: str
) -> ClientRecord | None:
    """Return the bot's client as it stands, whoever's mark it carries now, and nobody else's.

    It has the id that the status tells; if that tells none yet, the one that derives from the uid, or, adopted by a
    pass that did not come to its status, any under our mark.
    """
    provider = backends.identity_provider
    client = await provider.read_client(status.get("clientUuid") or client_uuid(uid))
    if client is not None or status.get("clientUuid"):
        return client
    found = await provider.find_client(client_id)
    return await provider.read_client(found.client_uuid) if found is not None and found.owner == owner else None


async def _client(backends: Backends, desired: DesiredBot) -> tuple[ClientRecord | None, ClientRecord | None]:
    """Return (our client, one that nobody owns and that may be taken over), None for what there is not.

    Raises:
        OwnershipConflictError: The id or the clientId belongs to somebody else; nothing of it is read or changed.
    """
    provider, client_id = backends.identity_provider, desired.client_id
    found = await provider.read_client(desired.client_uuid)
    if found is None or found.owner != desired.owner:
        found = found if found is not None else await provider.find_client(client_id)
        if found is not None and found.owner == desired.owner:
            # Under another id: adopted by a pass that did not come to its status.
            found = await provider.read_client(found.client_uuid)
    if found is None or found.owner == desired.owner:
        return found, None
    whose = f"carries the owner mark {found.owner}" if found.owner else "carries no owner mark of fedid"
    what = f" ({found.object_name})" if found.object_name else ""
    advice = "Choose another spec.clientId (a new BotClient), or have its owner delete the client"
    if found.owner is None:
        keycloaks, ours = is_reserved_client(client_id), client_id == provider.operator_client_id
        if desired.adopt and not keycloaks and not ours and found.client_id == client_id:
            return None, found
        if keycloaks or ours:
            advice = f"It is {'one of Keycloak' if keycloaks else 'the operator'}'s own; choose another spec.clientId"
        elif not desired.adopt:
            advice += ", or take it over with spec.adopt: true, which needs a grant"
    realm = backends.federation.keycloak.realm
    message = f"Client {client_id} of realm {realm} exists and {whose}{what}; it is left untouched. {advice}"
    raise OwnershipConflictError(message, backend="keycloak")


async def observe_stored(
    backends: Backends, bot: ObjectKey, owner: str, client_id: str, authentication: BotAuthentication
) -> StoredCredentials:
    """Return the bot secret, or the keys, and the tokens in Vault under our mark, and what lies there under another.

    Args:
        backends: Of the bot's Federation.
        bot: Which one.
        owner: Our owner mark.
        client_id: Of the bot; what was issued to another client is none of its tokens, whoever put it there.
        authentication: Of the bot; says whether a secret or keys are looked for.
    """
    store, provider = backends.secret_store, backends.identity_provider
    paths = BotPaths(backends.federation.vault.path_prefix, bot)
    found = StoredCredentials()
    path = paths.authentication(authentication)
    found.client = _own(await store.read(path, owner), path, owner, found.strangers)
    for name in await store.names(paths.tokens):
        path = paths.token(name)
        entry = _own(await store.read(path, owner), path, owner, found.strangers)
        if entry is None:
            continue
        found.tokens[name] = entry
        token = entry.data.get("token")
        if (opaque := opaque_in(entry.data)) is not None:
            found.opaque[name] = opaque
            continue
        claims = await provider.verify(token) if token else None
        if claims is not None and claims.authorized_party == client_id:
            found.claims[name] = claims
    return found


def recorded_in(status: Mapping[str, Any]) -> Recorded:
    """Return what an earlier pass wrote into the status for a later one."""
    secret, tokens = status.get("secret") or {}, status.get("tokens") or ()
    return Recorded(
        secret_version=secret.get("version"),
        secret_issued_at=instant_in(secret.get("issuedAt")),
        previous_ends_at=instant_in(secret.get("previousEndsAt")),
        key_id=secret.get("keyId"),
        subject=status.get("serviceAccountSubject"),
        withdrawn=bool(status.get("revocation")),
        ask_hashes={token["name"]: token.get("askHash", "") for token in tokens},
        token_versions={token["name"]: token["version"] for token in tokens if "version" in token},
        secret_rotated_for=secret.get("rotatedFor"),
        rotated_for={token["name"]: token["rotatedFor"] for token in tokens if token.get("rotatedFor")},
        fingerprints=_marks(tokens, "fingerprint"),
        previous_fingerprints=_marks(tokens, "previousFingerprint"),
        pending_fingerprints=_marks(tokens, "pendingFingerprint"),
    )


def _marks(tokens: Iterable[Mapping[str, Any]], field: str) -> dict[str, str]:
    return {token["name"]: token[field] for token in tokens if token.get(field)}


def _own(entry: StoredEntry | None, path: str, owner: str, strangers: dict[str, str]) -> StoredEntry | None:
    if entry is None or entry.owner == owner:
        return entry
    strangers[path] = f"carries the owner mark {entry.owner}" if entry.owner else "carries no owner mark of fedid"
    return None
