"""What happens in one simulation: drawn from a seed, printable, and smaller by leaving actions out."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.simulation.estate import APPLICANTS, BOTS, NAMESPACES, NODES, PORTALS, SERVERS, USERS
from tests.simulation.timeline import chance

__all__ = ["Action", "Story", "drill_of", "story_of"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that somebody does, or that befalls something; one that makes no sense by then does nothing."""

    at: float
    """Seconds."""
    what: str
    """Name of a method of `Hands`."""
    to: str = ""
    """Bot, user, namespace, replica or server."""
    how: float | int | str = 0
    """Seconds, a variant or a word, as the method takes it."""

    def __str__(self) -> str:
        """Return a line of a story."""
        return f"{self.at:9.2f} s  {self.what} {self.to} {self.how}".rstrip()


@dataclass(frozen=True, slots=True)
class Story:
    """One simulation; equal stories go the same way."""

    seed: int
    replicas: int
    actions: tuple[Action, ...]
    length: float
    """Seconds until everything is healed."""
    latency: float
    """Mean seconds of one way."""
    lifetime: float
    """Seconds that a token lives."""
    lease: float
    """Seconds."""
    events: bool
    """Whether the realm records admin events."""
    quiet: bool = False
    """Whether it is about days in which little but renewals happens; what only polls does so less often."""

    def __str__(self) -> str:
        """Return the story as lines."""
        kind = "quiet, " if self.quiet else ""
        head = (
            f"seed {self.seed}: {kind}{self.replicas} replica(s), lease {self.lease:.0f} s, "
            f"tokens {self.lifetime:.0f} s, latency {self.latency:.3f} s, {'events' if self.events else 'sweeps'}, "
            f"healed at {self.length:.0f} s"
        )
        return "\n".join([head, *(f"  {action}" for action in self.actions)])


_USERS_DO = (
    *(("create_bot",) * 3, ("change_bot",) * 2, ("rotate",) * 3, ("revoke_now",) * 2, ("suspend",) * 2),
    *(("resume",) * 2, ("delete_bot",) * 3, ("recreate_bot",) * 2, ("create_pod",), ("delete_pod",)),
    *(("create_user",) * 2, ("change_user",), ("suspend_user",), ("resume_user",), ("delete_user",), ("log_in",)),
    *(("expire",) * 2, ("create_server",) * 2, ("delete_server",)),
    *(("create_portal",) * 2, ("rotate_portal",) * 2, ("revoke_portal",), ("delete_portal",)),
    *(("unlabel",), ("label",), ("narrow",), ("widen",)),
)
_HANDS_DO = (
    *(("lose_client",) * 2, ("regenerate",) * 2, ("disable_client",), ("lose_entry",) * 2, ("empty_secret",)),
    *(("delete_secret",), ("take_role",), ("add_role",), ("lose_user",), ("strip",), ("spoil_entry",)),
)
_NODES_DO = (*("create_node",) * 2, *("rotate",) * 4, *("revoke_node",) * 2, "delete_node")
_NODES_SUFFER = ("end_nodes", "forget_nodes", "outage", "silence", "losses", "outage")
_WITH_NODES = 0.4
"""Part of the stories in which there is a SuperNode."""
_APPLICANTS_DO = (*("approve",) * 5, *("take_back",) * 2, "delete_applicant", *("create_applicant",) * 2)
_WITH_APPLICANTS = 0.3
"""Part of the stories in which somebody waits for a yes."""
_BEFALLS = (
    *(("crash",) * 5, ("outage",) * 4, ("silence",) * 2, ("losses",) * 3, ("pause",) * 2, ("sleep",), ("stop",)),
    *(("clock",) * 2, ("seal",)),
)


_LENGTHS = (600.0,) * 8 + (1800.0,) * 7 + (5400.0,) * 3 + (18000.0,)
"""Seconds: most of what goes wrong does so within minutes."""
_LONG_SECONDS = 5400.0
"""From this length on the Lease is renewed less often."""
_START_SECONDS = 30.0
"""Within which everything is there."""
_QUIET = 0.035
"""Part of the stories that are about quiet days."""
_QUIET_SECONDS = 4 * 86400.0
_WHOLE_DRILL = 5
"""From which seed on there is a SuperNode in a drill, and who waits for a yes."""
_CALM_BOTS = ("site-a/trainer", "site-b/trainer")
"""No stranger is in their way, so nothing is tried again and again."""


_BEGINNING = (
    Action(8.0, "create_user", USERS[0], 1),
    Action(9.0, "create_server", SERVERS[0]),
    Action(10.0, "create_portal", PORTALS[0], 0),
)
"""What is there in every story of a seed, beside bots."""


def _flat(groups: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(name for group in groups for name in group)


def story_of(seed: int) -> Story:
    """Return the story of a seed: of minutes or hours full of events, or now and then of quiet days."""
    drawn = chance(f"story {seed}")
    if drawn.random() < _QUIET:
        return _quiet_story(seed, drawn)
    length = drawn.choice(_LENGTHS)
    replicas = drawn.choice((1, 1, 2))
    gentle = drawn.random() < 0.25  # no hands and no weather: what users do must go without any excuse
    kinds = [_flat(_USERS_DO)] if gentle else [_flat(_USERS_DO), _flat(_HANDS_DO), _flat(_BEFALLS), _flat(_BEFALLS)]
    actions = [Action(float(number), "create_bot", name, drawn.randrange(3)) for number, name in enumerate(BOTS[:3], 5)]
    actions += _BEGINNING
    actions += _of_nodes(seed, length, gentle=gentle) + _of_applicants(seed, length)
    for _ in range(drawn.randint(3, 30)):
        at = round(drawn.uniform(30.0, length), 2)
        what = drawn.choice(drawn.choice(kinds))
        actions.append(_drawn(at, what, drawn, replicas))
        if drawn.random() < 0.4 and len(kinds) > 1:  # misfortunes like to come together
            also = drawn.choice(kinds[-1])
            # Before everything is healed, or what begins then would never be.
            near = round(min(max(30.0, at + drawn.uniform(-1.0, 2.0)), length - 0.01), 2)
            actions.append(_drawn(near, also, drawn, replicas))
    return Story(
        seed=seed,
        replicas=replicas,
        actions=tuple(sorted(actions, key=lambda one: one.at)),
        length=length,
        latency=drawn.choice((0.002, 0.02, 0.2)),
        lifetime=drawn.choice((600.0, 3600.0, 14400.0)),
        lease=drawn.choice((15.0, 60.0, 60.0)) if length < _LONG_SECONDS else 60.0,
        events=drawn.random() < 0.5,
    )


def _drawn(at: float, what: str, drawn: Random, replicas: int) -> Action:
    return Action(at, what, _target(what, drawn, replicas), _manner(what, drawn))


def _of_nodes(seed: int, length: float, *, gentle: bool) -> list[Action]:
    """Return what is about SuperNodes in the story of a seed, mostly nothing; drawn on its own."""
    drawn = chance(f"nodes {seed}")
    if drawn.random() > _WITH_NODES:
        return []
    actions = [Action(11.0, "create_node", NODES[0])]
    kinds = _NODES_DO if gentle else (*_NODES_DO, *_NODES_SUFFER)
    for _ in range(drawn.randint(1, 8)):
        what = drawn.choice(kinds)
        at = round(drawn.uniform(30.0, length), 2)
        backend = "superlink" if what in {"outage", "silence", "losses"} else NODES[0]
        actions.append(Action(at, what, backend, _manner(what, drawn)))
    return actions


def _of_applicants(seed: int, length: float) -> list[Action]:
    """Return what is about approvals in the story of a seed, mostly nothing; drawn on its own."""
    drawn = chance(f"applicants {seed}")
    if drawn.random() > _WITH_APPLICANTS:
        return []
    actions = [Action(12.0, "create_applicant", APPLICANTS[0])]
    for _ in range(drawn.randint(1, 8)):
        what = drawn.choice(_APPLICANTS_DO)
        actions.append(Action(round(drawn.uniform(30.0, length), 2), what, APPLICANTS[0], _manner(what, drawn)))
    return actions


def _quiet_story(seed: int, drawn: Random) -> Story:
    """Return days in which credentials are renewed again and again, and something happens once in a while."""
    replicas = drawn.choice((1, 1, 2))
    actions = [Action(float(number), "create_bot", name, drawn.randrange(3)) for number, name in enumerate(_CALM_BOTS)]
    actions += _BEGINNING
    actions += _of_nodes(seed, _QUIET_SECONDS, gentle=True)
    for _ in range(drawn.randint(0, 8)):
        at = round(drawn.uniform(_START_SECONDS, _QUIET_SECONDS), 2)
        what = drawn.choice(_flat(drawn.choice((_USERS_DO, _BEFALLS))))
        actions.append(_drawn(at, what, drawn, replicas))
    return Story(
        seed=seed,
        replicas=replicas,
        actions=tuple(sorted(actions, key=lambda one: one.at)),
        length=_QUIET_SECONDS,
        latency=drawn.choice((0.002, 0.02, 0.2)),
        lifetime=drawn.choice((3600.0, 14400.0, 43200.0)),
        lease=300.0,
        events=drawn.random() < 0.5,
        quiet=True,
    )


def drill_of(seed: int) -> Story:
    """Return a short story in which users do a lot and little goes wrong: the faster way to a bug that is always there.

    Everything that users may do comes before or after a leader is held up for longer than its Lease.
    """
    drawn = chance(f"drill {seed}")
    bot, user = BOTS[0], USERS[0]
    fixed = [
        *(Action(float(number), "create_bot", name, number % 2) for number, name in enumerate(BOTS, 5)),
        *(Action(float(number), "create_user", name, 1) for number, name in enumerate(USERS, 11)),
        *(Action(4.0, "create_server", SERVERS[0]), Action(50.0, "create_portal", PORTALS[0], 0)),
        *(Action(60.0, "change_bot", BOTS[1], 3), Action(70.0, "log_in", user), Action(80.0, "suspend_user", user)),
        Action(65.0, "change_user", USERS[3], 2),
        *(Action(100.0, "rotate", bot, "all-1"), Action(1000.0, "recreate_bot", bot, 0), Action(1280.0, "narrow")),
        *(Action(1100.0, "pause", "replica-0", 40.0), Action(1200.0, "pause", "replica-1", 40.0)),
        *(Action(1300.0, "losses", "keycloak", 30.0), Action(1301.0, "recreate_bot", BOTS[2], 0)),
        *(Action(1400.0, "lose_client", BOTS[1]), Action(1401.0, "recreate_bot", BOTS[1], 0)),
        *(Action(1500.0, "delete_user", USERS[1]), Action(1550.0, "suspend", BOTS[2])),
        Action(1600.0, "expire", BOTS[1], 60.0),
        *(Action(1350.0, "rotate_portal", PORTALS[0], "secret-1"), Action(1650.0, "delete_portal", PORTALS[0])),
    ]
    if seed >= _WHOLE_DRILL:
        node, applicant = NODES[0], APPLICANTS[0]
        fixed += [Action(56.0, "create_applicant", applicant), Action(300.0, "approve", applicant, 200.0)]
        fixed += [Action(55.0, "create_node", node), Action(700.0, "rotate", node, "secret-1")]
        fixed += [Action(800.0, "revoke_node", node, "because-1")]
        fixed += [Action(950.0, "delete_node", node), Action(960.0, "create_node", node)]
    names = _flat(_USERS_DO)
    for _ in range(drawn.randint(0, 12)):
        what = drawn.choice(names)
        at = round(drawn.uniform(1000.0, 1700.0), 2)
        fixed.append(Action(at, what, _target(what, drawn, 2), _manner(what, drawn)))
    ordered = tuple(sorted(fixed, key=lambda one: one.at))
    # Half an hour more than anything happens in: what is not renewed is noticed when it expires.
    return Story(seed, 2, ordered, 3600.0, 0.02, lifetime=600.0, lease=15.0, events=bool(seed % 2))


def _target(what: str, drawn: Random, replicas: int) -> str:
    if what in {"crash", "pause", "sleep", "stop", "clock"}:
        return f"replica-{drawn.randrange(replicas)}"
    if what in {"outage", "silence", "losses"}:
        return drawn.choice(("kubernetes", "keycloak", "vault"))
    if what in {"unlabel", "label"}:
        return drawn.choice(NAMESPACES)
    if what.endswith("server"):
        return drawn.choice(SERVERS)
    if what.endswith("portal"):
        return drawn.choice(PORTALS)
    if what in {"empty_secret", "delete_secret"}:
        return drawn.choice((*BOTS, *SERVERS, *PORTALS))
    if what in {"lose_client", "regenerate", "disable_client"}:
        return drawn.choice((*BOTS, *PORTALS))
    if what.endswith("user") or what == "log_in":
        return drawn.choice(USERS)
    return drawn.choice(BOTS) if what not in {"narrow", "widen", "seal"} else ""


def _manner(what: str, drawn: Random) -> float | int | str:
    match what:
        case "create_bot" | "recreate_bot" | "change_bot" | "create_user" | "change_user" | "create_portal":
            return drawn.randrange(4)
        case "rotate" | "rotate_portal":
            return drawn.choice(("token", "secret", "all")) + f"-{drawn.randrange(1000)}"
        case "approve":
            return round(drawn.choice((0.0, 0.0, 60.0, 900.0)) * drawn.random(), 2)
        case "expire":
            return round(drawn.choice((60.0, 900.0)) * drawn.random(), 2)
        case "revoke_now" | "revoke_portal" | "revoke_node":
            return f"because-{drawn.randrange(1000)}"
        case "crash":
            return round(drawn.choice((0.1, 5.0, 60.0)) * drawn.random(), 3)
        case "outage" | "silence" | "losses" | "seal":
            return round(drawn.choice((3.0, 60.0, 900.0)) * drawn.random(), 2)
        case "pause" | "sleep":
            return round(drawn.choice((1.0, 30.0, 300.0)) * drawn.random(), 2)
        case "clock":
            return round(drawn.choice((5.0, 300.0, 7200.0)) * drawn.uniform(-1.0, 1.0), 2)
        case _:
            return 0
