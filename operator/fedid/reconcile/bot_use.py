"""What PodIdentities may use of a bot: nothing of one that is refused, else what is published of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fedid.domain.acceptance import may_use
from fedid.domain.bot import suspension_of
from fedid.domain.conditions import ConditionType, Reason, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import Body, meta_of, parse_bot_client
from fedid.domain.suspension import Suspension
from fedid.domain.token_entries import OpaqueToken
from fedid.domain.tokens import TokenClaims
from fedid.errors import Error, InvalidSpecError, NotGrantedError, NotReadyError
from fedid.platforms.identity import PublishedToken
from fedid.reconcile.bot_observation import StoredCredentials

__all__ = ["published_tokens", "refusal_of"]


def refusal_of(bot: Body | None, key: ObjectKey, now: datetime, namespace: str) -> Error | None:
    """Return why nothing of a bot may be used, or None.

    Args:
        bot: As last read; None: it does not exist.
        key: Which one.
        now: The operator's clock (aware UTC).
        namespace: Of the PodIdentity that is to use it.
    """
    elsewhere = namespace != key.namespace
    if elsewhere and (bot is None or not may_use(namespace, bot)):
        # The same whether it exists or not: that is nobody's business in another namespace.
        message = (
            f"{key} does not let namespace {namespace} use it, or does not exist; have its owner add {namespace} to "
            "its spec.allowedNamespaces"
        )
        return NotGrantedError(message)
    if bot is None:
        message = f"{key} does not exist; create it, or name another in spec.botClientRef"
        return NotReadyError(message, reason=Reason.BOT_MISSING)
    meta, status = meta_of(bot), bot.get("status") or {}
    if meta.deleting:
        return NotReadyError(f"{key} is being deleted; nothing of it may be used", reason=Reason.BOT_DELETING)
    # By the spec and not by the status, which may be late: a bot whose backends are away is suspended all the same.
    if (suspension := _suspension(bot, now)) is not None:
        return NotReadyError(f"{key} may not be used: {suspension.message}", reason=suspension.reason)
    if revocation := status.get("revocation"):
        why = revocation.get("reason") or Reason.NOT_GRANTED
        return NotReadyError(f"{key} is being withdrawn; nothing of it may be used", reason=why)
    granted = condition_of(status.get("conditions") or (), ConditionType.GRANTED)
    if granted is not None and granted["status"] == "False" and not status.get("clientUuid"):
        return NotReadyError(f"{key} is not granted: {granted['message']}", reason=granted["reason"])
    return None


def published_tokens(stored: StoredCredentials) -> dict[str, tuple[PublishedToken, datetime]]:
    """Return the tokens that are well-formed and the bot's own, with the instants at which they were made."""
    good: Mapping[str, TokenClaims | OpaqueToken] = {**stored.claims, **stored.opaque}
    return {
        name: (PublishedToken(stored.tokens[name].data["token"], token.expires_at), token.issued_at)
        for name, token in good.items()
    }


def _suspension(bot: Body, now: datetime) -> Suspension | None:
    try:
        return suspension_of(parse_bot_client(bot), now)
    except InvalidSpecError:
        return None  # the bot says so itself, and what was published of it stays good
