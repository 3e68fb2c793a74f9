"""The operator is killed between any two effects of a rotation: one credential is good, and both sides know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import get_args

import pytest

from fedid.domain import bot_steps as steps
from tests.e2e.authority import Authority
from tests.e2e.kill_points import ANEW, BOOKKEEPING, ELSEWHERE, KEYS, POINTS, STATUS, Point, Target, unforeseen
from tests.e2e.operating import Proxies
from tests.e2e.rotating import PATIENCE_SECONDS, Held, Rotating, annotate, policy_disabled, rotating_bot
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant
from tests.e2e.waiting import eventually
from tests.testbed.faults import Fault, Hang, HoldAnswer, Rule
from tests.testbed.stack import Stack

BOTS = 15
LONG, SHORT = "1h", "10s"


def points_of(*classes: type) -> list[Point]:
    """Return the requests of these steps."""
    return [point for step in classes for point in POINTS[step]]


TOGETHER = points_of(
    steps.KeepSecret, steps.UpdateClient, steps.MintToken, steps.PublishSecret, steps.PublishToken, steps.DeliverToken
)
"""Both kinds of tokens and the secret in one pass; the jwt is the proof of the secret."""
ALONE = points_of(steps.ProveSecret)
"""Of a secret that is replaced alone."""
OVERLAP_ENDS = [
    *points_of(steps.EndPreviousSecret, steps.PublishSecret),
    replace(ALONE[0], number=2),  # behind the one that presents what was ended
    STATUS,
]
TOKEN_OVERLAP_ENDS = [
    replace(point, number=2) for point in (POINTS[steps.PublishToken][1], *POINTS[steps.DeliverToken])
]
"""The second write of a rotation: without the token before."""
INTERRUPTED = points_of(steps.UpdateClient, steps.ProveSecret, steps.PublishSecret)


def test_every_step_that_a_rotation_can_contain_has_its_points() -> None:
    """A new step is either one of a rotation and is cut here, or is said to be none."""
    assert {*POINTS, *ELSEWHERE, *KEYS} == set(get_args(steps.BotStep))
    assert not POINTS.keys() & (ELSEWHERE | KEYS)
    cut = {*TOGETHER, *ALONE, *OVERLAP_ENDS}
    assert {point for points in POINTS.values() for point in points} <= cut


@dataclass(slots=True)
class Round:
    """Some bots that rotate at once, each cut at another point, and one kill for all of them."""

    operator: Operator
    proxies: Proxies
    fault: Fault
    bots: Sequence[Rotating]
    names: dict[Rule, str] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def arm(self, points: Sequence[Point], first: int = 0) -> list[Rule]:
        """Cut the bots from the `first` on, one at each point, and record from now on."""
        self.proxies.clear()
        self.targets = [one.target() for one in self.bots]
        assert first + len(points) <= len(self.bots), "each point needs a bot of its own"
        armed = []
        for point, target in zip(points, self.targets[first:], strict=False):
            rule = point.arm(self.proxies, self.fault, target)
            self.names[rule] = f"{target.bot}: {point.method} {point.path} ({point.number})"
            armed.append(rule)
        return armed

    def kill(self, rules: Sequence[Rule]) -> None:
        """Wait until each is under way, kill the operator, mend what was cut."""
        try:
            eventually(lambda: all(rule.hits for rule in rules), "every step is under way")
        except AssertionError as error:
            message = f"{error}; never came: {[self.names[rule] for rule in rules if not rule.hits]}"
            raise AssertionError(message) from None
        self.operator.kill()
        for rule in rules:
            rule.lift()

    def assert_foreseen(self, points: Sequence[Point]) -> None:
        """See that every write about a bot since it was armed is one that some bot was cut at."""
        exchanges = tuple(one for proxy in self.proxies.all() for one in proxy.exchanges())
        assert unforeseen(exchanges, (*points, *BOOKKEEPING), self.targets) == set()


def held_by(bots: Sequence[Rotating]) -> dict[str, Held]:
    """Return what is published of each."""
    return {one.name: one.held() for one in bots}


CRASHES = [pytest.param(Hang(), id="before the effect"), pytest.param(HoldAnswer(), id="after the effect")]


@pytest.fixture(params=CRASHES)
def fault(request: pytest.FixtureRequest) -> Fault:
    """Whether the request that the kill comes upon is carried out."""
    wanted: Fault = request.param
    return wanted


@pytest.fixture
def bots(tenant: Tenant, authority: Authority) -> list[Rotating]:
    """Bots that are mounted."""
    made = [Rotating(tenant, authority, f"r{number:02}", copied=number < BOTS - 1) for number in range(BOTS)]
    for one in made:
        one.apply(LONG)
    for one in made:
        tenant.ready("PodIdentity", one.name, seconds=PATIENCE_SECONDS)
    return made


def test_kills_in_every_step_of_a_rotation(
    stack: Stack, operator: Operator, proxies: Proxies, bots: list[Rotating], fault: Fault
) -> None:
    """Tokens and secrets, the ends of their overlaps, a secret without overlap, and all at once by revoke-now."""
    round_ = Round(operator, proxies, fault, bots)
    before = held_by(bots)
    ends = _rotate(round_)
    alone = _assert_rotated(bots, before)
    with ExitStack() as stays:
        _end_overlaps(round_, ends)
        stays.enter_context(policy_disabled(stack))  # while nobody is there who could remember it
        operator.start(wait=False)
        _assert_overlaps_over(bots, before, alone)
        before = held_by(bots)
        _interrupt(round_)
        operator.start(wait=False)
        _assert_interrupted(bots, before)
    before = held_by(bots)
    _make_anew(round_)
    operator.start(wait=False)
    _assert_made_anew(bots, before)


def _rotate(cut: Round) -> list[Rule]:
    """Ask every bot for everything, one for its secret alone; return what will cut the ends of token overlaps."""
    begun = cut.arm([*TOGETHER, *BOOKKEEPING, *ALONE])
    ends = cut.arm(TOKEN_OVERLAP_ENDS, first=len(begun))
    uncopied = cut.arm([POINTS[steps.PublishToken][1]], first=BOTS - 1)
    for number, one in enumerate(cut.bots):
        annotate(one.tenant, one.name, rotate="secret-1" if number == len(begun) - 1 else "all-1")
    cut.kill([*begun, *uncopied])
    cut.assert_foreseen([*TOGETHER])
    cut.operator.start(wait=False)
    return ends


def _assert_rotated(bots: Sequence[Rotating], before: Mapping[str, Held]) -> str:
    """See both secrets good for every bot; return the name of the one that has its tokens still."""
    (alone,) = (one.name for one in bots if _asked(one) == "secret-1")
    for one in bots:
        wanted = {"secret": "secret-1"} if one.name == alone else {"secret": "all-1", "tokens": "all-1"}
        one.handled(**wanted)
        one.assert_two_secrets(before[one.name])
    return alone


def _asked(one: Rotating) -> str:
    return str(one.tenant.get("BotClient", one.name)["metadata"]["annotations"]["fedid.io/rotate"])  # type: ignore[index]


def _end_overlaps(cut: Round, token_ends: list[Rule]) -> None:
    """Let the former tokens end by themselves and the former secrets by a shorter overlap."""
    ends = cut.arm(OVERLAP_ENDS)
    eventually(lambda: all(rule.hits for rule in token_ends), "the token overlaps end", seconds=PATIENCE_SECONDS)
    for one in cut.bots:
        one.tenant.apply(rotating_bot(one.name, SHORT, copied=one.copied))
    cut.kill([*ends, *token_ends])
    cut.assert_foreseen([*OVERLAP_ENDS, *TOKEN_OVERLAP_ENDS])


def _assert_overlaps_over(bots: Sequence[Rotating], before: Mapping[str, Held], alone: str) -> None:
    for one in bots:
        one.settled()
        one.handled()
        one.assert_one_of_each()
        held, old = one.held(), before[one.name]
        assert not one.accepts(old.secret)
        made = (2, 1, 2) if one.name != alone else (2, 0, 0)
        assert tuple(now - then for now, then in zip(held.versions, old.versions, strict=True)) == made, one.name


def _interrupt(cut: Round) -> None:
    rules = cut.arm([*INTERRUPTED, *BOOKKEEPING])
    for one in cut.bots:
        annotate(one.tenant, one.name, rotate="secret-2")
    cut.kill(rules)
    cut.assert_foreseen(INTERRUPTED)


def _assert_interrupted(bots: Sequence[Rotating], before: Mapping[str, Held]) -> None:
    for one in bots:
        one.handled(secret="secret-2")
        one.assert_one_of_each()
        assert not one.accepts(before[one.name].secret)
        assert one.version("client") == before[one.name].versions[0] + 1, one.name


def _make_anew(cut: Round) -> None:
    rules = cut.arm(ANEW)
    for one in cut.bots:
        annotate(one.tenant, one.name, revoke_now="1")
    cut.kill(rules)


def _assert_made_anew(bots: Sequence[Rotating], before: Mapping[str, Held]) -> None:
    for one in bots:
        eventually(lambda: one.status().get("revokedNow") == "1", f"{one.name} was ended", seconds=PATIENCE_SECONDS)  # noqa: B023
        eventually(lambda: one.held_or_none() is not None, f"{one.name} made anew", seconds=PATIENCE_SECONDS)  # noqa: B023
        one.handled()
        one.assert_one_of_each()
        old = before[one.name]
        assert not one.accepts(old.secret)
        assert one.authority.admin_api_status(old.jwt) == 401
        assert one.held().opaque != old.opaque
