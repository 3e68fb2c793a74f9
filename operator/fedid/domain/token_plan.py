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
    PromoteToken,
    PublishToken,
    StageToken,
    WithdrawCopy,
    WithdrawToken,
)
from fedid.domain.handover import Handover
from fedid.domain.realm import Role
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
from fedid.domain.tokens import MintedToken, TokenClaims, token_faults

__all__ = ["TokenSteps", "is_pending", "made_unrecorded", "token_steps"]


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
    taken: frozenset[Role],
) -> TokenSteps:
    """Return what has to be done about the tokens.

    Args:
        desired: The granted part of the spec.
        observed: What the backends hold.
        request: What a person asks to be replaced now.
        uid: Of the object; spreads renewals.
        now: Keycloak's clock (aware UTC).
        remade: Whether this plan makes the client anew.
        taken: Roles that this plan takes from the service account.
    """
    situation = _Situation(desired, observed, request, uid, now, remade, taken)
    made: list[BotStep] = []
    published: list[BotStep] = []
    delivered: list[BotStep] = []
    for token in desired.tokens:
        step = situation.step(token)
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


@dataclass(frozen=True, slots=True)
class _Situation:
    """Everything that decides about a token."""

    desired: DesiredBot
    observed: ObservedBot
    request: RotationRequest | None
    uid: str
    now: datetime
    remade: bool
    taken: frozenset[Role]

    def step(self, token: DesiredToken) -> BotStep | None:
        """Return how the token is made anew, None if it stays."""
        if token.type == OPAQUE:
            return self._opaque_step(token)
        why = self._why_minted(token)
        return MintToken(token.name, why) if why is not None else None

    def _why_minted(self, token: DesiredToken) -> str | None:
        """Return why a jwt must be minted anew, or None."""
        stored, claims = self.observed.stored_tokens.get(token.name), self.observed.claims.get(token.name)
        if stored is None or not stored.data:
            return "it is not in Vault"
        if claims is None and token.name in self.observed.revoked:
            return "it was revoked before another took its place"
        if claims is None:
            return "what lies in Vault is no token of this client"
        if self.remade:
            return "the client was made anew"
        # A subject of None: switched on again, and another one.
        if self.observed.client is not None and claims.subject != self.observed.subject:
            return "the service account was made anew"
        if self.observed.recorded.withdrawn:
            return "a withdrawal was begun and called off"
        if faults := token_faults(claims, self.desired.expectation(token)):
            return "; ".join(faults)
        if without_location(stored.data) != token_entry(MintedToken(stored.data["token"], claims)):
            return "the entry in Vault was changed"
        if self.observed.client is not None and claims.issued_at.timestamp() < self.observed.client.not_before:
            return "the client's notBefore refuses it"
        if self.observed.recorded.ask_hashes.get(token.name) != self.desired.ask_hash(token):
            return "roles, audiences, scopes, claims or lifetime changed"
        if any(_carries(claims, role) for role in self.taken):
            return "it carries a role that is taken away"  # minted while a hand had added it
        if self.now >= renewal_due_at(claims.issued_at, claims.expires_at, self.uid, token.renew_before):
            return "its renewal is due"
        return _requested(token, self.observed, stored, self.request)

    def _opaque_step(self, token: DesiredToken) -> BotStep | None:
        stored, held = self.observed.stored_tokens.get(token.name), self.observed.opaque.get(token.name)
        if stored is None or not stored.data:
            return MakeToken(token.name, "it is not in Vault", keep_previous=False)
        if held is None:
            return MakeToken(token.name, "the entry in Vault was changed", keep_previous=False)
        if not self._is_ours(token, held):
            # Whoever can write there must not be able to choose what servers take for this bot.
            return MakeToken(token.name, "the token in Vault was changed", keep_previous=False)
        if self.observed.recorded.withdrawn:
            return MakeToken(token.name, "a withdrawal was begun and called off", keep_previous=False)
        if self.observed.recorded.fingerprints.get(token.name) not in {None, held.fingerprint}:
            return None  # by the status alone the one in use is known as ours: it comes first
        if is_pending(self.observed, token.name):
            return PromoteToken(token.name) if self._may_be_promoted(token, held) else None
        why = self._why_made_anew(token, held) or _requested(token, self.observed, stored, self.request)
        ended = held.previous_ends_at is not None and self._former_may_go(token, held.previous_ends_at)
        if why is not None and (held.previous_ends_at is None or ended or held.expires_at <= self.now):
            # Also one that has expired: the next is in the status before anybody has it, whatever becomes of the pass.
            if token.name in self.observed.verifiers:
                return StageToken(token.name, why)
            return MakeToken(token.name, why, keep_previous=held.expires_at > self.now)
        return EndPreviousToken(token.name) if ended else None

    def _is_ours(self, token: DesiredToken, held: OpaqueToken) -> bool:
        """Tell whether the token in use is one that we made, as far as the status remembers."""
        recorded = self.observed.recorded.fingerprints.get(token.name)
        if recorded in {None, held.fingerprint}:
            return True
        # Replaced by a pass that ended before its status; where servers take it they were told before. The one before
        # is not kept if it had expired by then.
        if self.observed.recorded.pending_fingerprints.get(token.name) == held.fingerprint:
            return True
        return recorded == held.previous_fingerprint and token.name not in self.observed.verifiers

    def _may_be_promoted(self, token: DesiredToken, held: OpaqueToken) -> bool:
        """Tell whether every server takes the pending token; one that does not waits at most for the other's end."""
        taken = self.observed.verifiers.get(token.name)
        return taken is None or held.pending_fingerprint in taken or held.expires_at <= self.now

    def _former_may_go(self, token: DesiredToken, ends_at: datetime) -> bool:
        """Tell whether the overlap is over and nobody is left who presents the token before, as far as one waits."""
        missing = not self.observed.presented.get(token.name, True)
        reachable_since = self.observed.handover.reachable_since
        return Handover(missing, reachable_since=reachable_since).lets_end(ends_at, token.overlap, self.now)

    def _why_made_anew(self, token: DesiredToken, held: OpaqueToken) -> str | None:
        wanted = self.desired.ask_hash(token)
        # One whose pass ended before its status is under no hash yet; how long it lives tells enough.
        asked = self.observed.recorded.ask_hashes.get(token.name) or wanted
        if held.expires_at - held.issued_at != token.lifetime or asked != wanted:
            return "its lifetime changed"
        if self.now >= renewal_due_at(held.issued_at, held.expires_at, self.uid, token.renew_before):
            return "its renewal is due"
        return None


def _carries(claims: TokenClaims, role: Role) -> bool:
    held = claims.realm_roles if role.client_id is None else claims.client_roles.get(role.client_id, frozenset())
    return role.name in held


def _requested(
    token: DesiredToken, observed: ObservedBot, stored: StoredEntry, request: RotationRequest | None
) -> str | None:
    if request is None or not request.wants_token(observed.recorded.rotated_for.get(token.name)):
        return None
    return None if made_unrecorded(observed, token.name, stored) else "it was asked for"


def is_pending(observed: ObservedBot, name: str) -> bool:
    """Tell whether a token waits to take the place of the one in use.

    One that the status does not tell of is nobody's yet, a crash came in between or a hand put it there: no server was
    told of it, none is, and it is overwritten in time.
    """
    held = observed.opaque.get(name)
    pending = held.pending_fingerprint if held is not None else None
    return pending is not None and observed.recorded.pending_fingerprints.get(name) == pending


def made_unrecorded(observed: ObservedBot, name: str, stored: StoredEntry) -> bool:
    """Tell whether the token was made by a pass that ended before its status was written."""
    held, recorded = observed.opaque.get(name), observed.recorded
    if held is not None:  # an entry that only lost the token before has another version and the same token
        return recorded.fingerprints.get(name) != held.fingerprint
    return recorded.token_versions.get(name) != stored.version


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
