"""Lives under random faults: nothing of what ended is good, and all that lives has a credential that is."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tests.e2e.estate import Estate, estate_of
from tests.e2e.rotating import FILES, Rotating, annotate, rotating_bot
from tests.e2e.tenancy import Body, is_ready, pod_identity, unique
from tests.e2e.waiting import eventually
from tests.matrix.attribution import Attribution
from tests.matrix.hands import of_each
from tests.matrix.rounds import World
from tests.matrix.witness import Witness

BATCH = 80
"""Bots that live at the same time."""
PATIENCE_SECONDS = 180.0
"""Without any progress, once everything is well again, on a machine that has more to do."""
TICK_SECONDS = 0.3
ACTS_PER_TICK = 0.2
"""How likely an object's next act comes with a tick."""
SHARE_PATIENT, PATIENT_SECONDS = 0.7, 60.0
"""Of the bots, and for how long of a batch they are."""
BETWEEN_BLOWS_SECONDS = (6.0, 20.0)
OUTAGE_SECONDS = (0.5, 4.0)
KILLS_AMONG_BLOWS = 0.7
"""The others are a backend that is away for a while."""

CREATE, CHANGE, SUSPEND, RESUME, DELETE = "create", "change", "suspend", "resume", "delete"
ASKED = ("rotate all", "rotate token", "rotate secret", "revoke-now")


@dataclass(slots=True)
class Figures:
    """What was done, and what was found."""

    runs: int = 0
    done: Counter[str] = field(default_factory=Counter)
    """Acts, kills, outages and faults."""
    credentials: int = 0
    alive_after_end: list[str] = field(default_factory=list)
    """Bots that were gone, and something of them was good."""
    without_credential: list[str] = field(default_factory=list)
    """Bots that lived, and nothing that is published of them was good."""
    others: list[str] = field(default_factory=list)
    """What else is not as it should be: not settled, left behind, former secrets that are taken."""

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return not (self.alive_after_end or self.without_credential or self.others)

    def __str__(self) -> str:
        """Return them in one line."""
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        return (
            f"{self.runs} runs ({done}), {self.credentials} credentials: "
            f"{len(self.alive_after_end)} gone with a credential that works, "
            f"{len(self.without_credential)} alive without one that does, {len(self.others)} other findings"
        )


def plan(chance: random.Random) -> list[str]:
    """Return what happens to a bot, one after the other and whether or not the operator is done with the last."""
    middle = [chance.choice((*ASKED[:3], *ASKED, CHANGE, SUSPEND)) for _ in range(chance.randrange(4))]
    acts = [CREATE]
    for act in middle:
        acts += [act, RESUME] if act == SUSPEND else [act]
    return [*acts, DELETE] if chance.random() < 0.5 else acts


@dataclass(slots=True)
class Batch:
    """Some bots, from their creation to their end."""

    world: World
    chance: random.Random
    size: int
    figures: Figures
    bots: dict[str, Rotating] = field(init=False)
    plans: dict[str, list[str]] = field(init=False)
    witness: Witness = field(init=False)
    roles: Counter[str] = field(default_factory=Counter)
    """By bot, how often it was changed."""
    asked: Counter[str] = field(default_factory=Counter)
    """By bot, how often something was asked by annotation."""
    revoked: dict[str, str] = field(default_factory=dict)
    """By bot, the last value of the annotation `revoke-now`."""
    ended: set[str] = field(default_factory=set)
    """Bots whose deletion was asked for."""
    patient: set[str] = field(default_factory=set)
    """Bots to which nothing is done before they are Ready again; the others are asked for many things at once."""
    last: dict[str, str] = field(default_factory=dict)
    """By bot, what was done to it last."""
    gone: set[str] = field(default_factory=set)
    """Those that are gone and were looked at."""

    def __post_init__(self) -> None:
        """Name the bots, and draw what happens to them."""
        tenant, authority = self.world.tenant, self.world.authority
        names = [unique("run") for _ in range(self.size)]
        self.bots = {name: Rotating(tenant, authority, name) for name in names}
        self.plans = {name: plan(self.chance) for name in names}
        self.patient = {name for name in names if self.chance.random() < SHARE_PATIENT}
        # A generator of its own: the order in which requests come is not ours to repeat.
        attribution = Attribution(tenant.stack, tenant.namespace, set(names))
        self.witness = Witness(attribution, random.Random(self.chance.random()))  # noqa: S311 - not for a secret

    def run(self) -> None:
        """Let them live under faults, look at all; end the rest under faults, and look again."""
        self.witness.attach(self.world.proxies)
        try:
            self._disturbed(self.plans)
            self._converge()
            self._look_at_the_living()
            self._disturbed({name: [DELETE] for name in self.bots.keys() - self.ended})
            self._converge()
            self.gone.clear()  # and looked at once more: a pass under way may have made something for one that was gone
            self._look_at_the_gone()
            self._look_for_remains()
        finally:
            self.witness.breaks = False
            self.world.proxies.heal()
            self.witness.detach(self.world.proxies)
            self._clean()
        self.figures.runs += len(self.bots)
        self.figures.done.update({f"faults ({kind})": count for kind, count in self.witness.broken.items()})
        self.figures.credentials += sum(len(self.witness.of(name)) for name in self.bots)

    def _clean(self) -> None:
        """Leave nothing to the next batch, nor to the Federation, which goes after its identities."""
        tenant, kinds = self.world.tenant, ("BotClient", "PodIdentity")
        if not self.world.operator.running:
            self.world.operator.start(wait=False)
        for name in self.bots:
            for kind in kinds:
                tenant.delete(kind, name)
        eventually(lambda: not any(tenant.all_of(kind) for kind in kinds), "all are gone", seconds=PATIENCE_SECONDS)

    def _disturbed(self, plans: dict[str, list[str]]) -> None:
        """Carry out plans, under faults, kills and outages."""
        left = {name: list(acts) for name, acts in sorted(plans.items()) if acts}
        self.witness.breaks = True
        blow_at = time.monotonic() + self.chance.uniform(*BETWEEN_BLOWS_SECONDS)
        patient_until = time.monotonic() + PATIENT_SECONDS
        while left:
            waiting = self._waiting() if time.monotonic() < patient_until else set()
            drawn = [name for name in left if self.chance.random() < ACTS_PER_TICK and name not in waiting]
            now = {name: left[name].pop(0) for name in drawn}
            self._tell("not done", self._each(partial(self._act_on, now), now))
            left = {name: acts for name, acts in left.items() if acts}
            if time.monotonic() >= blow_at or not left:
                self._blow()
                blow_at = time.monotonic() + self.chance.uniform(*BETWEEN_BLOWS_SECONDS)
            begun = time.monotonic()
            self._look_at_the_gone()
            time.sleep(max(TICK_SECONDS, time.monotonic() - begun))
        self.witness.breaks = False

    def _waiting(self) -> set[str]:
        """Return the patient for whom the operator is not done."""
        suspended = {name for name, act in self.last.items() if act == SUSPEND}
        return (self.patient & self.last.keys() & self._not_ready()) - suspended

    def _blow(self) -> None:
        operator, proxies = self.world.operator, self.world.proxies
        if self.chance.random() < KILLS_AMONG_BLOWS:
            self.figures.done["kills"] += 1
            operator.kill()
            operator.start(wait=False)
            return
        self.figures.done["outages"] += 1
        proxy = self.chance.choice(proxies.all())
        proxy.refuse()
        time.sleep(self.chance.uniform(*OUTAGE_SECONDS))
        proxy.accept()
        if not operator.running:  # without the API server it cannot know whether it may go on; a kubelet restarts it
            operator.start(wait=False)

    def _act_on(self, acts: Mapping[str, str], name: str) -> str:
        act, tenant, one = acts[name], self.world.tenant, self.bots[name]
        if act in ASKED:
            self.asked[name] += 1
            value = f"{act.removeprefix('rotate ')}-{self.asked[name]}"
            if act == "revoke-now":
                self.revoked[name] = value
                annotate(tenant, name, revoke_now=value)
            else:
                annotate(tenant, name, rotate=value)
        elif act == DELETE:
            self.ended.add(name)
            tenant.delete("BotClient", name)
        else:
            self.roles[name] += act == CHANGE
            tenant.apply(self._manifest(one.name, suspend=act == SUSPEND))
            if act == CREATE:
                tenant.apply(pod_identity(name, files=FILES))
        self.figures.done[act] += 1
        self.last[name] = act
        return ""

    def _manifest(self, name: str, *, suspend: bool) -> Body:
        body = rotating_bot(name, "1h", opaque_overlap="10s")
        role = ("fl-client", "fl-member")[self.roles[name] % 2]
        body["spec"] |= {
            "federationRef": {"name": self.world.ground.federation},
            "realmRoles": [role],
            "suspend": suspend,
        }
        return body

    def _converge(self) -> None:
        """Wait until the ended are gone and the others Ready; what is not in time is told."""
        deadline, before = time.monotonic() + PATIENCE_SECONDS, -1
        unsettled: set[str] = set(self.bots)
        while unsettled and time.monotonic() < deadline:
            if not self.world.operator.running:
                self.world.operator.start(wait=False)
            self._look_at_the_gone()
            unsettled = (self.ended - self.gone) | self._not_ready()
            if len(unsettled) != before:
                before, deadline = len(unsettled), time.monotonic() + PATIENCE_SECONDS
            time.sleep(TICK_SECONDS)
        self.figures.others += [f"{name} did not settle" for name in sorted(unsettled)]

    def _not_ready(self) -> set[str]:
        ready = {
            kind: {body["metadata"]["name"]: body for body in self.world.tenant.all_of(kind) if is_ready(body)}
            for kind in ("BotClient", "PodIdentity")
        }
        found = set()
        for name in self.bots.keys() - self.ended:
            body = ready["BotClient"].get(name)
            revoked = body is not None and body["status"].get("revokedNow") == self.revoked.get(name)
            if not (revoked and name in ready["PodIdentity"]):
                found.add(name)
        return found

    def _look_at_the_gone(self) -> None:
        """Present everything of those that are gone since the last look, at once: nothing is waited for."""
        there = {body["metadata"]["name"] for body in self.world.tenant.all_of("BotClient")}
        new = self.ended - self.gone - there
        self.gone |= new
        problems = self._each(self._still_good, new)
        self.figures.alive_after_end += [f"{name}: {problem}" for name, problem in problems.items() if problem]

    def _still_good(self, name: str) -> str:
        """Tell how many of the credentials of one that is gone are accepted."""
        heard, authority = self.witness.of(name), self.world.authority
        secrets = sum(self.bots[name].accepts(secret) for secret in heard.secrets)
        tokens = sum(authority.admin_api_status(token) != 401 for token in heard.tokens)
        return f"{secrets} secrets and {tokens} tokens are accepted" if secrets or tokens else ""

    def _look_at_the_living(self) -> None:
        """See that everything published is good, and that no third secret is; a pass may be under way meanwhile."""
        living = self.bots.keys() - self.ended
        problems = self._each_problem(self._missing_of, living)
        self.figures.without_credential += [f"{name}: {problem}" for name, problem in problems.items()]
        problems = self._each_problem(self._superfluous_of, living - problems.keys())
        self._tell("superfluous", problems)

    def _missing_of(self, name: str) -> str:
        one, held = self.bots[name], self.bots[name].held_or_none()
        if held is None:
            return "not everything is published"
        good = {
            "secret": one.accepts(held.secret),
            "jwt": self.world.authority.admin_api_status(held.jwt) == 403,
            "opaque token": one.copy().get("token") == held.opaque,
            "Secret": one.consumers_agree(),
        }
        return ", ".join(f"{what} is not good" for what, is_good in good.items() if not is_good)

    def _superfluous_of(self, name: str) -> str:
        one, entry = self.bots[name], self.bots[name].entry("client")
        known = {entry["client_secret"], entry.get("previous_client_secret")}
        taken = [secret for secret in self.witness.of(name).secrets - known if one.accepts(secret)]
        return f"{len(taken)} former secrets are accepted" if taken else ""

    def _look_for_remains(self) -> None:
        """See that nothing is left but the Secrets of those that mount, with nothing in them."""
        found = estate_of(self.world.tenant.stack, self.world.tenant.namespace)
        remains = Estate(found.clients, found.users, found.vault, ())
        if remains != Estate((), (), (), ()):
            self.figures.others.append(f"left behind: {remains}")

    def _each_problem(self, look: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
        """Ask about each until nothing is wrong; what stays wrong is returned."""
        told = dict.fromkeys(names, "never looked at")
        deadline = time.monotonic() + PATIENCE_SECONDS / 3
        while told and time.monotonic() < deadline:
            told = {name: problem for name, problem in self._each(look, list(told)).items() if problem}
            time.sleep(TICK_SECONDS if told else 0)
        return told

    def _tell(self, what: str, problems: Mapping[str, str]) -> None:
        self.figures.others += [f"{name}, {what}: {problem}" for name, problem in problems.items() if problem]

    @staticmethod
    def _each(look: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
        """Ask about each; what fails is told by its message."""
        asked = list(names)
        return dict(zip(asked, of_each(look, asked), strict=True))


def random_runs(world: World, runs: int, seed: int) -> Figures:
    """Let so many bots live, and tell what became of them after each batch."""
    chance, figures = random.Random(seed), Figures()  # noqa: S311 - not for a secret
    with suppress(KeyboardInterrupt):
        while figures.runs < runs:
            began = time.monotonic()
            Batch(world, chance, min(BATCH, runs - figures.runs), figures).run()
            world.say(f"  {figures}; the last batch took {time.monotonic() - began:.0f} s")
    return figures
