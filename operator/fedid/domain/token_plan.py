"""The part of a bot's plan that is about its bearer tokens: made, proven, published, copied, ended.

The entry in Vault comes first and says where the copy lies; what servers check loses the former token last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fedid.domain.bot import DesiredBot, DesiredToken
from fedid.domain.bot_steps import (
    BotStep,
    DeliverToken,
    EndPreviousToken,
    MakeToken,
    MintToken,
    ObservedBot,
    PublishToken,
    WithdrawCopy,
    WithdrawToken,
)
from fedid.domain.rotation import RotationRequest, renewal_due_at
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import (
    OPAQUE,
    OpaqueToken,
    copy_of,
    delivered_to,
    token_entry,
    without_location,
)
from fedid.domain.tokens import MintedToken, token_faults

__all__ = ["TokenSteps", "made_unrecorded", "token_steps"]


@dataclass(frozen=True, slots=True)
class TokenSteps:
    """The steps about tokens, in the three groups between which other steps stand."""

    made: tuple[BotStep, ...]
    published: tuple[BotStep, ...]
    last: tuple[BotStep, ...]

    @property
    def mints(self) -> bool:
        """Whether a jwt is minted, which proves the bot secret too."""
        return any(isinstance(step, MintToken) for step in self.made)


def token_steps(  # noqa: PLR0913 - one decision over everything that is known of a token
    desired: DesiredBot,
    observed: ObservedBot,
    request: RotationRequest | None,
    uid: str,
    now: datetime,
    *,
    remade: bool,
) -> TokenSteps:
    """Return what has to be done about the tokens.

    Args:
        desired: The granted part of the spec.
        observed: What the backends hold.
        request: What a person asks to be replaced now.
        uid: Of the object; spreads renewals.
        now: Keycloak's clock (aware UTC).
        remade: Whether this plan makes the client anew.
    """
    made: list[BotStep] = []
    published: list[BotStep] = []
    delivered: list[BotStep] = []
    for token in desired.tokens:
        step = _making(token, desired, observed, request, uid, now, remade=remade)
        stored = observed.stored_tokens.get(token.name)
        moved = stored is not None and _has_moved(token, observed)
        if step is not None:
            made.append(step)
        if moved:
            # Without making it anew: what is good stays, whatever the place, and one that is not granted goes now.
            published.append(WithdrawCopy(token.name))
        if step is not None or moved:
            published.append(PublishToken(token.name, _version(stored)))
        if token.delivery is not None and (step is not None or moved or _copy_differs(token, observed)):
            # A copy that moves lies where nobody has looked yet.
            there = None if moved else observed.copies.get(token.name)
            delivered.append(DeliverToken(token.name, _version(there)))
    gone = sorted(set(observed.stored_tokens) - set(desired.token_names))
    # Copies last: a stranger's entry in the way of one must not keep another token from being renewed.
    return TokenSteps(tuple(made), tuple(published), (*(WithdrawToken(name) for name in gone), *delivered))


def _making(  # noqa: PLR0913
    token: DesiredToken,
    desired: DesiredBot,
    observed: ObservedBot,
    request: RotationRequest | None,
    uid: str,
    now: datetime,
    *,
    remade: bool,
) -> BotStep | None:
    """Return how the token is made anew, None if it stays."""
    if token.type == OPAQUE:
        return _opaque_step(token, desired, observed, request, uid, now)
    why = _why_minted(token, desired, observed, request, uid, now, remade=remade)
    return MintToken(token.name, why) if why is not None else None


def _why_minted(  # noqa: PLR0913
    token: DesiredToken,
    desired: DesiredBot,
    observed: ObservedBot,
    request: RotationRequest | None,
    uid: str,
    now: datetime,
    *,
    remade: bool,
) -> str | None:
    """Return why a jwt must be minted anew, or None."""
    stored, claims = observed.stored_tokens.get(token.name), observed.claims.get(token.name)
    if stored is None or not stored.data:
        return "it is not in Vault"
    if claims is None:
        return "what lies in Vault is no token of this client"
    if remade:
        return "the client was made anew"
    if observed.client is not None and claims.subject != observed.subject:  # None: switched on again, it is another one
        return "the service account was made anew"
    if observed.recorded.withdrawn:
        return "a withdrawal was begun and called off"
    if faults := token_faults(claims, desired.expectation(token)):
        return "; ".join(faults)
    if without_location(stored.data) != token_entry(MintedToken(stored.data["token"], claims)):
        return "the entry in Vault was changed"
    if observed.client is not None and claims.issued_at.timestamp() < observed.client.not_before:
        return "the client's notBefore refuses it"
    if observed.recorded.ask_hashes.get(token.name) != desired.ask_hash(token):
        return "roles, audiences, scopes, claims or lifetime changed"
    if now >= renewal_due_at(claims.issued_at, claims.expires_at, uid, token.renew_before):
        return "its renewal is due"
    return _requested(token, observed, stored, request)


def _opaque_step(  # noqa: PLR0913
    token: DesiredToken,
    desired: DesiredBot,
    observed: ObservedBot,
    request: RotationRequest | None,
    uid: str,
    now: datetime,
) -> BotStep | None:
    stored, held = observed.stored_tokens.get(token.name), observed.opaque.get(token.name)
    if stored is None or not stored.data:
        return MakeToken(token.name, "it is not in Vault", keep_previous=False)
    if held is None:
        return MakeToken(token.name, "the entry in Vault was changed", keep_previous=False)
    recorded = observed.recorded.fingerprints.get(token.name)
    if recorded not in {None, held.fingerprint, held.previous_fingerprint}:
        # Whoever can write there must not be able to choose what servers take for this bot.
        return MakeToken(token.name, "the token in Vault was changed", keep_previous=False)
    if observed.recorded.withdrawn:
        return MakeToken(token.name, "a withdrawal was begun and called off", keep_previous=False)
    why = _why_made_anew(token, desired, observed, held, uid, now) or _requested(token, observed, stored, request)
    ended = held.previous_ends_at is not None and held.previous_ends_at <= now
    if why is not None and (held.previous_ends_at is None or ended or held.expires_at <= now):
        return MakeToken(token.name, why, keep_previous=held.expires_at > now)
    return EndPreviousToken(token.name) if ended else None


def _why_made_anew(  # noqa: PLR0913
    token: DesiredToken, desired: DesiredBot, observed: ObservedBot, held: OpaqueToken, uid: str, now: datetime
) -> str | None:
    asked = observed.recorded.ask_hashes.get(token.name)
    if held.expires_at - held.issued_at != token.lifetime or asked not in {None, desired.ask_hash(token)}:
        return "its lifetime changed"
    if now >= renewal_due_at(held.issued_at, held.expires_at, uid, token.renew_before):
        return "its renewal is due"
    return None


def _requested(
    token: DesiredToken, observed: ObservedBot, stored: StoredEntry, request: RotationRequest | None
) -> str | None:
    if request is None or not request.tokens or observed.recorded.rotated_for.get(token.name) == request.value:
        return None
    return None if made_unrecorded(observed, token.name, stored) else "it was asked for"


def made_unrecorded(observed: ObservedBot, name: str, stored: StoredEntry) -> bool:
    """Tell whether the token was made by a pass that ended before its status was written."""
    held, recorded = observed.opaque.get(name), observed.recorded
    if held is not None:  # an entry that only lost the token before has another version and the same token
        return recorded.fingerprints.get(name) not in {None, held.fingerprint}
    return recorded.token_versions.get(name) not in {None, stored.version}


def _has_moved(token: DesiredToken, observed: ObservedBot) -> bool:
    """Tell whether the copy is to lie elsewhere than the entry says."""
    stored = observed.stored_tokens.get(token.name)
    lies = delivered_to(stored.data) if stored is not None else None
    subject = observed.known_subject
    if observed.keycloak_seen and observed.subject is None:
        subject = None  # the service account is made in this pass, and is another one
    wanted = token.delivery.location(subject) if token.delivery is not None else None
    return lies != wanted


def _copy_differs(token: DesiredToken, observed: ObservedBot) -> bool:
    stored, copy = observed.stored_tokens.get(token.name), observed.copies.get(token.name)
    if stored is None or token.delivery is None or "token" not in stored.data:
        return False
    return copy is None or dict(copy.data) != copy_of(stored.data, token.delivery.key)


def _version(entry: StoredEntry | None) -> int | None:
    return entry.version if entry is not None else None
