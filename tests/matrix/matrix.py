"""The matrix as a whole: what each operation does, and then every fault at everything that it does."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.operating import Proxies, grant, own_federation
from tests.matrix import steps
from tests.matrix.attribution import ADMIN
from tests.matrix.bots import SCOPES
from tests.matrix.lives import Ground, Life, Operation
from tests.matrix.people import LOGIN, PROVIDERS
from tests.matrix.results import Results
from tests.matrix.rounds import Lifetime, World
from tests.matrix.servers import ADDRESSES
from tests.matrix.stage import Column, Row
from tests.matrix.super_link import fronted_super_link
from tests.testbed.stack import Stack

REFERENCES = 2
"""Objects whose requests are recorded; a row is what all of them did."""
AT_ONCE = 40
"""Objects of each kind in one lifetime."""

At = tuple[type[Life], Operation]


@contextmanager
def prepared(stack: Stack, proxies: Proxies) -> Iterator[Ground]:
    """Give realm and SuperLink what the manifests name, and a Federation that grants all of it."""
    for name in SCOPES:
        stack.keycloak("POST", f"{ADMIN}/client-scopes", {"name": name, "protocol": "openid-connect"}, accept=(409,))
    config = {"clientId": "unused", "clientSecret": "unused"}
    config |= dict.fromkeys(("authorizationUrl", "tokenUrl"), "https://unused.invalid")
    for alias in PROVIDERS:
        provider = {"alias": alias, "providerId": "oidc", "config": config}
        stack.keycloak("POST", f"{ADMIN}/identity-provider/instances", provider, accept=(409,))
    login = {"clientId": LOGIN, "publicClient": True, "directAccessGrantsEnabled": True}
    stack.keycloak("POST", f"{ADMIN}/clients", login, accept=(409,))
    try:
        with fronted_super_link() as super_link:
            rule = grant(
                identityProviders=[*PROVIDERS],
                oidcFlows=["authorizationCode", "introspection"],
                redirectUriPrefixes=[ADDRESSES],
                superlinkUrls=[super_link.url],
            )
            with own_federation(stack, proxies, "matrix", grants=[rule], defaults={"resyncPeriod": "1h"}) as name:
                yield Ground(name, super_link)
    finally:
        for alias in PROVIDERS:
            stack.keycloak("DELETE", f"{ADMIN}/identity-provider/instances/{alias}")
        scopes = {one["name"]: one["id"] for one in stack.keycloak("GET", f"{ADMIN}/client-scopes")}
        for name in SCOPES:
            stack.keycloak("DELETE", f"{ADMIN}/client-scopes/{scopes[name]}")
        client = stack.keycloak("GET", f"{ADMIN}/clients?clientId={LOGIN}")[0]["id"]
        stack.keycloak("DELETE", f"{ADMIN}/clients/{client}")


@dataclass(slots=True)
class Reference:
    """What each operation does if nothing happens."""

    rows: dict[At, list[Row]] = field(default_factory=dict)
    calls: dict[At, int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Of the objects."""

    @classmethod
    def record(cls, world: World) -> Reference:
        """Let some objects live undisturbed.

        Raises:
            AssertionError: They do not come to what their manifests say, so nothing can be compared with them.
        """
        made = cls()
        lifetime = Lifetime(world, {}, least=REFERENCES)

        def note(operation: Operation) -> None:
            assert not lifetime.results.problems, "\n".join(lifetime.results.problems)
            for life in lifetime.lives:
                if operation in life.operations:
                    seen = [lifetime.stage.rows[name] for name in life.names]
                    common = (row for row in seen[0] if all(row in one for one in seen))
                    # How often the same is read depends on what else happens; the first time is enough.
                    made.rows[type(life), operation] = [row for row in common if row.effect or row.number == 1]
                    made.calls[type(life), operation] = min(map(len, seen))

        made.names = {name for life in lifetime.lives for name in life.names}
        lifetime.run(note)
        return made

    def gaps(self, log: str) -> set[str]:
        """Return side effects that belong to nothing known, and steps of plans that no side effect was seen of.

        Args:
            log: Of the operator, which tells the steps that it took.
        """
        rows = [row for of in self.rows.values() for row in of]
        return steps.unforeseen(rows) | steps.uncovered(rows, log, self.names)

    def every_cell(self) -> dict[At, list[tuple[Row, Column]]]:
        """Return every row with every column."""
        return {at: [(row, column) for row in rows for column in row.columns] for at, rows in self.rows.items()}

    def sample(self, chance: random.Random) -> dict[At, list[tuple[Row, Column]]]:
        """Return everything that a kind of object does once, in one of the operations, with the columns in turn."""
        places: dict[tuple[type[Life], str], list[tuple[At, Row]]] = {}
        for at, rows in self.rows.items():
            for row in rows:
                places.setdefault((at[0], row.what), []).append((at, row))
        found: dict[At, list[tuple[Row, Column]]] = {}
        turn = chance.randrange(len(Column))
        for number, candidates in enumerate(places.values(), turn):
            at, row = chance.choice(candidates)
            found.setdefault(at, []).append((row, row.columns[number % len(row.columns)]))
        return found


def batches(
    cells: Mapping[At, list[tuple[Row, Column]]], at_once: int = AT_ONCE
) -> list[dict[At, list[tuple[Row, Column]]]]:
    """Share cells out among as few lifetimes as can be, those with kills first, so that the others have none."""
    made: list[dict[At, list[tuple[Row, Column]]]] = []
    for at, wanted in cells.items():
        for number, cell in enumerate(sorted(wanted, key=lambda cell: not cell[1].kills)):
            while len(made) <= number // at_once:
                made.append({})
            made[number // at_once].setdefault(at, []).append(cell)
    return made


def run(world: World, reference: Reference, cells: Mapping[At, list[tuple[Row, Column]]]) -> Results:
    """Cut off everything that is asked for."""
    results = Results()
    _run(world, reference, cells, results)
    return results


def run_again(
    world: World, reference: Reference, cells: Mapping[At, list[tuple[Row, Column]]], results: Results
) -> None:
    """Try once more what did not come."""
    missed = {(place.operation, place.row, column) for place, column in results.not_met()}
    again = {at: [cell for cell in wanted if (at[1], *cell) in missed] for at, wanted in cells.items()}
    _run(world, reference, {at: wanted for at, wanted in again.items() if wanted}, results)


def _run(world: World, reference: Reference, cells: Mapping[At, list[tuple[Row, Column]]], results: Results) -> None:
    shares = batches(cells)
    for number, share in enumerate(shares, 1):
        world.say(f"lifetime {number} of {len(shares)}: {sum(map(len, share.values()))} cells")
        Lifetime(world, share, reference.calls, results=results).run()
        world.report(results)
