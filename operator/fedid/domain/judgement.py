"""What the grants of a Federation say to what one identity asks for.

Nothing matches: nothing is granted. Each ask must be covered by one rule that matches the namespace and whose demands
the identity meets; different asks may be covered by different rules. A role or group counts with what it brings along:
each of those must be covered too. A limit is the widest value that any matching rule sets; none set: no limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from fedid.domain.conditions import Reason
from fedid.domain.grants import Ask, Grant

__all__ = ["Standing", "Verdict", "judge"]

_NAMED = 6


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts about an identity beside its asks."""

    expires: bool = False
    """Whether it ends by itself (`spec.expiresAt`)."""
    approved: frozenset[str] | None = None
    """Signatures of the asks that an approval of it covers; None: there is no approval, not even of its existence."""
    older: int = 0
    """How many identities of its namespace, of all kinds, come before it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the grants say to a set of asks."""

    namespace_matched: bool
    """Whether any rule is about the namespace at all; without one nothing may exist."""
    denied: frozenset[Ask]
    max_token_lifetime: timedelta | None
    """None: no limit."""
    message: str
    """Publishable sentence: which rules cover it, or what is denied and which rules exist."""
    barred: bool = False
    """Whether it may not exist although a rule is about its namespace: one too many, or no rule's demands are met."""
    waits: bool = False
    """Whether nothing is missing but an approval."""
    under_approval: bool = False
    """Whether it goes by an approval, or waits for one."""
    rules: tuple[int, ...] = ()
    """Positions of the rules that cover what is granted."""
    covered: Mapping[Ask, tuple[int, ...]] = field(default_factory=dict)
    """Each ask that is granted to the positions of the rules that cover it, with what it brings along."""
    asked: tuple[str, ...] = ()
    """Under approval: signatures of everything that it asks for, what that brings along included."""
    approved: bool = False
    """Whether an approval covers all of that."""

    @property
    def granted(self) -> bool:
        """Whether every ask is covered."""
        return self.may_exist and not self.denied

    @property
    def may_exist(self) -> bool:
        """Whether anything may exist at all; without that, what exists is withdrawn as a whole."""
        return self.namespace_matched and not self.barred

    @property
    def reason(self) -> Reason:
        """The reason of the condition `Granted`."""
        if self.granted:
            return Reason.GRANTED
        return Reason.WAITING_FOR_APPROVAL if self.waits else Reason.NOT_GRANTED


@dataclass(slots=True)
class _Finding:
    """What the rules say to the asks, one by one."""

    used: set[int] = field(default_factory=set)
    """Positions of the rules that cover something."""
    covered: dict[Ask, tuple[int, ...]] = field(default_factory=dict)
    unlisted: dict[Ask, list[Ask]] = field(default_factory=dict)
    """Ask to those parts of it that no rule lists."""
    by_wildcard: set[Ask] = field(default_factory=set)
    """Those of them that are listed, but not in full, as what they bring along demands."""
    endless: dict[Ask, Grant] = field(default_factory=dict)
    """Ask to a rule that would cover it if the identity ended by itself."""
    waiting: dict[Ask, Grant] = field(default_factory=dict)
    """Ask to a rule that would cover it if it were approved."""


def judge(  # noqa: PLR0913 - everything that a verdict rests on
    asks: Iterable[Ask],
    grants: Iterable[Grant],
    *,
    federation: str,
    namespace: str,
    labels: Mapping[str, str],
    standing: Standing | None = None,
    brings: Mapping[Ask, frozenset[Ask]] | None = None,
) -> Verdict:
    """Return what the grants of a Federation say to the asks of one identity.

    Where several rules cover an ask, the one that demands least is used, then the first.

    Args:
        asks: What the spec asks for.
        grants: All rules of the Federation.
        federation: Its name, for the message.
        namespace: Where the identity lives.
        labels: The namespace's labels as observed now.
        standing: What else counts; None: it meets no demand.
        brings: The roles that a role or group brings along, as asks; one that brings none may be missing.
    """
    rules, standing = tuple(grants), standing or Standing()
    matching = [rule for rule in rules if rule.matches(namespace, labels)]
    found = _Finding()
    for ask in sorted(set(asks)):
        _find(ask, (brings or {}).get(ask, frozenset()), matching, namespace, standing, found)
    open_rules = [rule for rule in matching if _is_open(rule, standing, approved=standing.approved is not None)]
    if open_rules and not found.used:
        found.used.add(min(open_rules, key=_leniency).index)
    limits = [rule.max_token_lifetime for rule in matching if rule.max_token_lifetime is not None]
    crowd = _crowd(matching, standing)
    waits = not crowd and not found.unlisted and not found.endless
    waits = waits and (bool(open_rules) or any(_may_wait(rule, standing) for rule in matching))
    return Verdict(
        namespace_matched=bool(matching),
        denied=frozenset([*found.unlisted, *found.endless, *found.waiting]),
        max_token_lifetime=max(limits, default=None),
        message=_message(federation, namespace, matching, rules, found, crowd, standing),
        barred=bool(matching) and (crowd is not None or not open_rules),
        waits=waits and (bool(found.waiting) or not open_rules),
        under_approval=bool(found.waiting)
        or (waits and not open_rules)
        or any(rule.require_approval for rule in matching if rule.index in found.used),
        rules=tuple(sorted(found.used)),
        covered=found.covered,
    )


def _find(  # noqa: PLR0913 - everything that one ask is judged by
    ask: Ask, brought: frozenset[Ask], matching: Sequence[Grant], namespace: str, standing: Standing, found: _Finding
) -> None:
    """Judge one ask, and all that it brings along, into the finding."""
    in_full = any(part.is_administrative for part in brought)
    used: set[int] = set()
    for part in (ask, *sorted(brought)):
        listing = [rule for rule in matching if rule.covers(part, namespace)]
        if part == ask and in_full:
            in_part = listing
            listing = [rule for rule in listing if rule.names_in_full(part)]
            if in_part and not listing:
                found.by_wildcard.add(ask)
        approved = standing.approved is not None and part.signature in standing.approved
        usable = [rule for rule in listing if _is_open(rule, standing, approved=approved)]
        if usable:
            used.add(min(usable, key=_leniency).index)
        elif not listing:
            found.unlisted.setdefault(ask, []).append(part)
        elif waited := [rule for rule in listing if _may_wait(rule, standing)]:
            found.waiting.setdefault(ask, min(waited, key=_leniency))
        else:
            found.endless.setdefault(ask, min(listing, key=_leniency))
    if ask in found.unlisted:
        found.endless.pop(ask, None)
    if ask in found.unlisted or ask in found.endless:
        found.waiting.pop(ask, None)
    if not {*found.unlisted, *found.endless, *found.waiting} & {ask}:
        found.used |= used
        found.covered[ask] = tuple(sorted(used))


def _is_open(rule: Grant, standing: Standing, *, approved: bool) -> bool:
    """Tell whether what the rule demands is met."""
    return _may_wait(rule, standing) and (approved or not rule.require_approval)


def _may_wait(rule: Grant, standing: Standing) -> bool:
    """Tell whether everything that the rule demands is met, an approval aside."""
    return standing.expires or not rule.require_expiry


def _leniency(rule: Grant) -> tuple[int, int]:
    return rule.demands, rule.index


def _crowd(matching: Sequence[Grant], standing: Standing) -> Grant | None:
    """Return the rule with the widest limit of identities if that many older ones exist."""
    limiting = [(rule.max_identities, -rule.index, rule) for rule in matching if rule.max_identities is not None]
    most, _, rule = max(limiting, default=(None, 0, None), key=lambda one: one[:2])
    return rule if most is not None and standing.older >= most else None


def _message(  # noqa: PLR0913 - everything that a sentence is made of
    federation: str,
    namespace: str,
    matching: Sequence[Grant],
    rules: tuple[Grant, ...],
    found: _Finding,
    crowd: Grant | None,
    standing: Standing,
) -> str:
    if not matching:
        existing = "; ".join(map(str, rules)) or "none"
        return (
            f"No grant of Federation {federation} is about namespace {namespace}, so nothing is made. "
            f"Rules that exist: {existing}. Ask the platform team to label the namespace or to add a grant."
        )
    if crowd is not None:
        return (
            f"grants[{crowd.index}] of Federation {federation} lets namespace {namespace} have {crowd.max_identities} "
            "identities (maxIdentities), and that many older ones exist. Delete one that is not needed; this one is "
            "made then by itself."
        )
    told = []
    if found.unlisted:
        asks = ", ".join(_with_parts(ask, found) for ask in sorted(found.unlisted))
        listed = "; ".join(map(str, matching))
        told.append(
            f"Federation {federation} does not grant namespace {namespace}: {asks}. "
            f"Rules that match the namespace: {listed}. Take it out of the spec, or ask the platform team for a grant."
        )
    if found.endless or not (found.used or any(_may_wait(rule, standing) for rule in matching)):
        told.append(_endless(federation, found, matching))
    if found.waiting or not (found.used or told):
        told.append(_waiting(federation, found, matching))
    if told:
        return " ".join(told)
    covering = ", ".join(f"grants[{index}]" for index in sorted(found.used))
    return f"Covered by {covering} of Federation {federation}."


def _with_parts(ask: Ask, found: _Finding) -> str:
    """Return the ask, with what it brings along that is not covered."""
    if ask in found.by_wildcard:
        return f"{ask} (it brings roles of Keycloak's own clients, so a rule must name it in full)"
    brought = ", ".join(str(part) for part in found.unlisted[ask] if part != ask)
    return f"{ask} (it brings {brought})" if brought else str(ask)


def _some(asks: Collection[Ask]) -> str:
    """Return the first few asks: what follows them in a condition says what to do, and must not be cut off."""
    more = len(asks) - _NAMED
    return ", ".join(map(str, sorted(asks)[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _endless(federation: str, found: _Finding, matching: Sequence[Grant]) -> str:
    what = _some(found.endless) or "an identity"
    rule = min(found.endless.values() or matching, key=_leniency)
    return (
        f"grants[{rule.index}] of Federation {federation} lets only identities that end by themselves have {what} "
        "(requireExpiry): set spec.expiresAt."
    )


def _waiting(federation: str, found: _Finding, matching: Sequence[Grant]) -> str:
    what = _some(found.waiting) or "that this identity exists"
    rule = min(found.waiting.values() or matching, key=_leniency)
    return f"grants[{rule.index}] of Federation {federation} wants an IdentityApproval for {what} (requireApproval)."
