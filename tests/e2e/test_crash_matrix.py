"""A sample of the crash matrix: whatever is cut off, both sides end as the manifests say; `make crash-matrix`: all."""

from __future__ import annotations

import os
import random

from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant
from tests.matrix.matrix import Reference, prepared, run, run_again
from tests.matrix.rounds import World

SEED = 2939752725
"""Draws in which of the five ways each request is cut off; `make crash-matrix` draws another each time."""


def test_each_request_is_cut_off_in_one_of_the_ways(
    tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies
) -> None:
    """Kills before and after side effects, answers that are cut, late and truncated; no step of a plan is left out."""
    seed = int(os.environ.get("FEDID_SEED") or SEED)
    with prepared(tenant.stack, proxies) as ground:
        world = World(tenant, authority, operator, proxies, ground)
        reference = Reference.record(world)
        assert reference.gaps(operator.output()) == set(), "no row, or no step, for these"
        cells = reference.sample(random.Random(seed))  # noqa: S311 - not for a secret
        results = run(world, reference, cells)
        if results.not_met():
            run_again(world, reference, cells, results)
    print(results.markdown())
    assert results.failures() == []
    assert results.not_met() == []
