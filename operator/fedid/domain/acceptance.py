"""Whose bots a server accepts, who may mount a bot of another namespace, and from when on pods hold what was written.

Both sides must want it across namespaces: the bot lists the namespace, and the server lists the bot's; a label alone
would let anybody have his bot accepted elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.conditions import instant_in
from fedid.domain.fields import Body, section, text_or_none, texts
from fedid.domain.label_selector import LabelSelector, checked_selector
from fedid.domain.pod_reload import why_not_held

__all__ = [
    "OTHERS_SEE",
    "Accepts",
    "Sharing",
    "accepted_of",
    "allowed_namespaces",
    "holds_from",
    "may_use",
    "parse_accepts",
    "parse_selection",
    "sharing_of",
]

_NUDGED_SEE = timedelta(seconds=4)
"""What pods that were told need to have the new file: the second telling comes after two seconds, with a margin."""
OTHERS_SEE = timedelta(minutes=2)
"""What kubelet takes by itself: a minute between looks, and what it remembers for as long (measured: 78 s at most)."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """Which bots' opaque tokens a server takes; or which bots or users it lets in, whatever their tokens."""

    selector: LabelSelector
    namespaces: frozenset[str]
    """Beside its own."""
    token: str | None
    """Which of a bot's tokens; None: every opaque one."""

    def matches(self, server_namespace: str, member: Body) -> bool:
        """Tell whether the server wants the bot or user, and its owner lets it."""
        metadata = member["metadata"]
        namespace = metadata["namespace"]
        wanted = namespace == server_namespace or namespace in self.namespaces
        return wanted and self.selector.matches(metadata.get("labels") or {}) and may_use(server_namespace, member)


def parse_accepts(spec: Body) -> Accepts | None:
    """Return what `spec.accepts` says of opaque tokens, None if the server takes none.

    A SuperLink takes no list of tokens: the bots that it accepts are its members (`fedid.domain.membership`).

    Raises:
        InvalidSpecError: A field of it means nothing; the message names it.
    """
    flower = (spec.get("platform") or {}).get("flower") or {}
    return None if "superLink" in flower else parse_selection(spec, "spec.accepts", "would accept every bot")


def parse_selection(parent: Body, path: str, empty: str) -> Accepts | None:
    """Return whom the selection at `path` picks, None if it is missing.

    Args:
        parent: Where it stands.
        path: For messages.
        empty: What an empty selector would do.

    Raises:
        InvalidSpecError: A field of it means nothing; the message names it.
    """
    if parent.get(path.rpartition(".")[2]) is None:
        return None
    told = section(parent, path)
    return Accepts(
        selector=checked_selector(told, f"{path}.selector", f"{empty}; write matchLabels: {{fedid.io/server: <name>}}"),
        namespaces=frozenset(texts(told, f"{path}.namespaces")),
        token=text_or_none(told, f"{path}.token"),
    )


def allowed_namespaces(member: Body) -> frozenset[str]:
    """Return the namespaces beside its own whose PodIdentities may use a bot, or let a user in."""
    listed = (member.get("spec") or {}).get("allowedNamespaces") or ()
    return frozenset(name for name in listed if isinstance(name, str))


def may_use(namespace: str, member: Body) -> bool:
    """Tell whether PodIdentities of a namespace may use a bot, or let a user in."""
    return namespace == member["metadata"]["namespace"] or namespace in allowed_namespaces(member)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who else may use a bot, and how often somebody lost it."""

    namespaces: frozenset[str]
    withdrawals: int

    def fields(self) -> dict[str, Any]:
        """Return what the status remembers."""
        return {"sharedWith": sorted(self.namespaces) or None, "withdrawals": self.withdrawals or None}


def sharing_of(bot: Body) -> Sharing:
    """Return it as it is now; who was ever let in may have seen everything, whether or not he mounted it."""
    status = bot.get("status") or {}
    before, now = frozenset(status.get("sharedWith") or ()), allowed_namespaces(bot)
    lost = 1 if before - now else 0
    return Sharing(now, int(status.get("withdrawals") or 0) + lost)


def accepted_of(entries: Iterable[Mapping[str, Any]], bot_uid: str, token: str) -> frozenset[str]:
    """Return the fingerprints of a bot's token among the entries of `status.accepted` of a server."""
    ours = (one for one in entries if one.get("uid") == bot_uid and one.get("token") == token)
    return frozenset(mark for one in ours for mark in one.get("fingerprints") or ())


def holds_from(pod_identity: Body) -> datetime | None:
    """Return from when on pods use what the Secret of a PodIdentity holds; None: not all of them were seen to."""
    spec, status = pod_identity.get("spec") or {}, pod_identity.get("status") or {}
    changed_at, content = instant_in(status.get("changedAt")), status.get("secretHash")
    if changed_at is None or content is None:
        return None
    if spec.get("pods") is None:
        return changed_at + OTHERS_SEE
    if why_not_held(pod_identity, content) is not None:
        return None
    pods = status.get("pods") or {}
    if pods.get("mounting") == 0:
        return changed_at  # who starts later reads what is there
    if pods.get("reloadedHash") == content:
        return changed_at  # they were asked
    nudged_at = instant_in(pods.get("nudgedAt"))
    return nudged_at + _NUDGED_SEE if nudged_at is not None else None
