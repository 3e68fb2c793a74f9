"""One story from beginning to end, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from fedid.engine import LeaseTiming
from tests.simulation.aftermath import Aftermath
from tests.simulation.estate import furnish
from tests.simulation.hands import Hands
from tests.simulation.replica import Replica
from tests.simulation.scene import Site, settled_in
from tests.simulation.story import Story
from tests.simulation.witness import Violation, Witness

_LOOK_SECONDS, _QUIET_LOOK_SECONDS = 30.0, 600.0
"""Between looks at what must hold at every instant, besides those after each effect."""
_HEALING_SECONDS, _QUIET_HEALING_SECONDS = 2000.0, 9000.0
"""How long after the last misfortune everything must be in order: longer than any pause, resync or sweep."""
_FIRST_LOOK_SECONDS = 200.0
"""Between looks whether it is; a story ends when it is."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a story."""

    story: Story
    violation: Violation | None
    trace: str
    """Digest of all that happened."""
    seconds: float
    """Simulated."""
    counts: Counter[str] = field(default_factory=Counter)


def simulate(story: Story, looks: Iterable[tuple[float, Callable[[Site], None]]] = ()) -> Result:
    """Run a story; somebody else may look at the site at instants of it (seconds)."""
    site = Site.new(story.seed)
    site.network.seconds = story.latency
    with settled_in(site, story.seed, lambda _settings: _timing(story), quiet=story.quiet):
        furnish(site.servers, events=story.events, quiet=story.quiet)
        site.replicas += [Replica(site, f"replica-{number}", quiet=story.quiet) for number in range(story.replicas)]
        witness = Witness(site, story.lifetime, story.lease)
        hands, timeline = Hands(site, witness, story.lifetime), site.timeline
        for replica in site.replicas:
            timeline.after(site.random.random(), replica.start)
        for action in story.actions:
            timeline.at(action.at, partial(hands.act, action))
        for at, look in looks:
            timeline.at(at, partial(look, site))
        timeline.at(story.length, hands.misfortune.heal)
        _look_regularly(witness, site, _QUIET_LOOK_SECONDS if story.quiet else _LOOK_SECONDS)
        timeline.run(until=story.length + _FIRST_LOOK_SECONDS)
        aftermath = Aftermath(site, witness, hands)
        aftermath.await_order(story.length + (_QUIET_HEALING_SECONDS if story.quiet else _HEALING_SECONDS))
        if not witness.violations:
            aftermath.look()
        if not witness.violations:
            aftermath.look_again()
        for replica in site.replicas:
            if replica.crashes and not witness.violations:
                witness.fail("bug", replica.crashes[0])
            replica.kill()
            replica.bury()
    first = witness.violations[0] if witness.violations else None
    return Result(story, first, site.trace.hexdigest(), timeline.now, witness.counts)


def _timing(story: Story) -> LeaseTiming:
    seconds, pause = story.lease, story.lease / (4.0 if story.quiet else 7.5)
    return LeaseTiming(seconds, seconds * 2 / 3, retry_seconds=pause, request_seconds=pause)


def _look_regularly(witness: Witness, site: Site, seconds: float) -> None:
    def look() -> None:
        witness.look()
        site.timeline.after(seconds, look)

    site.timeline.after(seconds, look)
