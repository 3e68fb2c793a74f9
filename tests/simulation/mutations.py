"""Bugs of one line each, planted to see that the simulation finds them.

The source is changed while a subprocess imports it; the work tree is never touched.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PACKAGE = ROOT / "operator" / "fedid"
DRILLS = (1, 3, 5)
"""Seeds of the drills of which one has to find a planted bug; without one, nothing is found in them."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One line of the operator made wrong."""

    invariant: str
    """What it breaks, as the design numbers it; `end`: what must be true at the end."""
    file: str
    """Below operator/fedid."""
    old: str
    """Occurs exactly once."""
    new: str

    def __str__(self) -> str:
        """Return where it is and what it does."""
        return f"[{self.invariant}] {self.file}: {self.old.strip()!r} becomes {self.new.strip()!r}"


MUTATIONS = (
    Mutation(
        "1",
        "reconcile/bot_secret.py",
        'bot.audit("PublishSecret", path=bot.paths.client, version=facts.secret_version)',
        'bot.audit("PublishSecret", secret=facts.secret and facts.secret.reveal())',
    ),
    Mutation(
        "1",
        "reconcile/status.py",
        '"conditions"] = merged_conditions(',
        '"x"] = "fbs_x"; wanted["conditions"] = merged_conditions(',
    ),
    Mutation(
        "2",
        "reconcile/user_teardown.py",
        "            ended = await self._disable(user, backends)\n            now",
        '            ended = ""\n            now',
    ),
    Mutation(
        "2",
        "reconcile/pod_node_end.py",
        "return newest_of(self._world, await self.end(await self._empty(body)))",
        "return await self._empty(body)",
    ),
    Mutation(
        "10",
        "domain/approval.py",
        "return self.expires_at is None or now < self.expires_at",
        "return True",
    ),
    Mutation(
        "4",
        "domain/node_plan.py",
        "return Handover(missing=not changed_over).lets_end(since + desired.overlap, desired.overlap, now)",
        "return True",
    ),
    Mutation(
        "2",
        "reconcile/bot_application.py",
        "secret=facts.secret, not_before=int(now.timestamp()), keys=keys)",
        "secret=facts.secret, keys=keys)",
    ),
    Mutation(
        "2",
        "reconcile/gate.py",
        "if finalizer in meta.finalizers:",
        "if finalizer:",
    ),
    Mutation(
        "3",
        "reconcile/bot_secret.py",
        "data = client_entry(bot.desired, facts.secret, facts.previous_secret)",
        "data = client_entry(bot.desired, bot.world.fresh_secret(), None)",
    ),
    Mutation("4", "domain/rotation.py", "else life * (2 / 3)", "else life * 3"),
    Mutation("4", "reconcile/bot_client.py", "self._wake_consumers(body, published, anyway=facts.published)", "pass"),
    Mutation(
        "4",
        "reconcile/accepted_tokens.py",
        '("fingerprint", "previousFingerprint", "pendingFingerprint")',
        '("fingerprint", "pendingFingerprint")',
    ),
    Mutation("5", "reconcile/status.py", "    if not patch:", "    if False:"),
    Mutation("5", "reconcile/pod_secret.py", "if found is not None and _same(wanted, found):", "if False:"),
    Mutation(
        "6",
        "reconcile/news.py",
        '    if before.get("spec") != after.get("spec") or _is_let_go_by_hand(before, after):',
        "    if before != after:",
    ),
    Mutation(
        "7",
        "reconcile/bot_at_authority.py",
        "world.note_absence(evidence.client_id, provider)",
        'raise OwnershipConflictError("gone", backend="keycloak")',
    ),
    Mutation(
        "8",
        "reconcile/pod_secret.py",
        "        if found is not None and found.owner_uid != meta.uid:",
        "        if False:",
    ),
    Mutation("9", "engine/lease.py", "return max(0.0, self._timing.fence_after_seconds - passed)", "return 1.0"),
    Mutation("10", "domain/judgement.py", "found.unlisted.setdefault(ask, []).append(part)", "used.add(0)"),
    Mutation("10", "reconcile/federation.py", "known.grants, known.federation = grants, federation", "pass"),
    Mutation("11", "domain/naming.py", 'return f"{installation_id}/{uid}"', 'return f"{installation_id}/{uid[:0]}"'),
    Mutation("end", "reconcile/bot_at_authority.py", "await provider.delete_client(client.client_uuid)", "pass"),
    Mutation("end", "reconcile/bot_teardown.py", "await store.destroy(path, owner)", "pass"),
    Mutation("end", "reconcile/release.py", "    await without_finalizer(world, body)", "    pass"),
    Mutation("end", "reconcile/bot_client.py", "        if suspension is not None:", "        if False:"),
    Mutation(
        "end",
        "reconcile/server_identity.py",
        "return [bot for bot in bots if refusal_of(bot, meta_of(bot).key, now, namespace) is None]",
        "return bots",
    ),
    Mutation("end", "reconcile/oidc_client_teardown.py", "await self._delete(body, uuid, name, backends)", "pass"),
    Mutation(
        "end",
        "reconcile/oidc_client_teardown.py",
        "if not await backends.secret_store.destroy(path, world.owner(meta.uid)):",
        "if False:",
    ),
    Mutation(
        "2",
        "reconcile/pod_node_end.py",
        "return still_wanted(self._world, meta_of(await self.end(body)))",
        'return await self._forget(body, Condition(ConditionType.REVOKED, True, Reason.PROVEN, ""))',
    ),
    Mutation("end", "domain/suspension.py", "expires_at is not None and expires_at <= now", "False"),
    Mutation("end", "reconcile/user_teardown.py", "await provider.delete_user(user.user_id)", "pass"),
    Mutation(
        "end",
        "engine/workers.py",
        "self._queue.done(item.key, now + delay_seconds, item.priority)",
        "self._queue.done(item.key)",
    ),
)


def caught(mutation: Mutation, drills: tuple[int, ...] = DRILLS) -> str | None:
    """Plant a bug in a process of its own and return how the drills told of it, None if they did not."""
    command = [sys.executable, "-m", "tests.simulation.mutations", str(MUTATIONS.index(mutation)), *map(str, drills)]
    path = os.pathsep.join([str(ROOT / "operator"), str(ROOT)])
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or (done.stderr.strip()[-500:] if done.returncode else None)


class _Planter(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Loads one module with its line changed."""

    def __init__(self, mutation: Mutation) -> None:
        """Wait for that module."""
        name = "fedid." + mutation.file.removesuffix(".py").replace("/", ".")
        super().__init__(name, str(_PACKAGE / mutation.file))
        self._mutation = mutation

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Return a spec for that module alone."""
        if fullname != self.name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=self.path)

    def get_code(self, _fullname: str) -> object:  # type: ignore[override]
        """Compile the changed source, past every cache."""
        source = Path(self.path).read_text(encoding="utf-8")
        return self.source_to_code(source.replace(self._mutation.old, self._mutation.new).encode(), self.path)


def _drill(index: int, drills: list[int]) -> None:
    sys.meta_path.insert(0, _Planter(MUTATIONS[index]))
    from tests.simulation.simulation import simulate  # noqa: PLC0415 - imports what is changed
    from tests.simulation.story import drill_of  # noqa: PLC0415 - likewise

    for seed in drills:
        result = simulate(drill_of(seed))
        if result.violation is not None:
            print(f"drill {seed}: {str(result.violation)[:200]}")
            return


if __name__ == "__main__":
    _drill(int(sys.argv[1]), [int(one) for one in sys.argv[2:]])
