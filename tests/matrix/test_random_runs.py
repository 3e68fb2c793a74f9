"""The random runs themselves: what they hear, what they draw, and that what is wrong is found."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.estate import Estate
from tests.e2e.rotating import Held
from tests.matrix import random_runs as runs
from tests.matrix.attribution import PROTOCOL, Call
from tests.matrix.random_runs import CREATE, DELETE, RESUME, SUSPEND, Batch, Figures, plan
from tests.matrix.witness import Witness
from tests.testbed.faults import Spoken


class Known:
    """Takes the last part of the path for the name of the object."""

    def __init__(self, *names: str) -> None:
        """Know these."""
        self.names = set(names)

    def of(self, backend: str, spoken: Spoken) -> Call | None:
        """Return what a request is about."""
        del backend
        name = spoken.path.rpartition("/")[2]
        return Call(name, spoken.path, effect=True) if name in self.names else None


def witness(**state: Any) -> Witness:
    """Return one that knows a bot."""
    return Witness(Known("one"), random.Random(1), **state)  # type: ignore[arg-type] # noqa: S311


def said(path: str, sent: object = None, answered: object = None, form: bytes = b"") -> Spoken:
    """Return a request."""
    body = form or json.dumps(sent).encode()
    return Spoken("POST", path, {}, body, json.dumps(answered).encode())


def test_every_credential_of_a_bot_is_heard() -> None:
    """In entries, in the Secret of who mounts, and in Keycloak's answers; those of others are not."""
    ear = witness()
    ear.take("vault", said("/one", {"data": {"client_secret": "first", "previous_client_secret": "zeroth"}}))
    ear.take("vault", said("/one", {"data": {"token": "eyJ.published", "client_id": "here.one"}}))
    ear.take("vault", said("/two", {"data": {"client_secret": "another's"}}))
    mounted = {"token": "eyJ.mounted", "secret": "second", "list": "opaque"}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in mounted.items()}
    ear.take("kubernetes", said("/one", {"kind": "Secret", "data": data}))
    ear.answered(said(f"{PROTOCOL}/token", answered={"access_token": "eyJ.lost"}, form=b"client_id=here.one&x=y"))
    ear.answered(said(f"{PROTOCOL}/token", answered={"access_token": "eyJ.other"}, form=b"client_id=here.two"))
    heard = ear.of("one")
    assert heard.secrets == {"zeroth", "first", "second"}
    assert heard.tokens == {"eyJ.published", "eyJ.mounted", "eyJ.lost"}
    assert len(ear.of("two")) == 0


def test_requests_are_broken_while_it_is_told_to() -> None:
    """A few of them, in every way; each is counted, and what one that is broken publishes is heard all the same."""
    ear = witness(breaks=True)
    rules = [ear.take("vault", said("/one", {"data": {"client_secret": f"s{n}"}})) for n in range(2000)]
    broken = [rule for rule in rules if rule is not None]
    assert 40 < len(broken) == ear.broken.total() < 160
    assert len(ear.broken) == 5, "Status has two codes"
    assert len(ear.of("one").secrets) == 2000
    ear.breaks = False
    assert ear.take("vault", said("/one", {})) is None


def test_a_plan_begins_with_the_creation_and_ends_unsuspended() -> None:
    """Half of the bots end in the middle of everything, the others when all is well again."""
    plans = [plan(random.Random(seed)) for seed in range(200)]  # noqa: S311 - not for a secret
    assert {acts[0] for acts in plans} == {CREATE}
    assert 60 < sum(acts[-1] == DELETE for acts in plans) < 140
    for acts in plans:
        assert [acts[n + 1] for n, act in enumerate(acts) if act == SUSPEND] == [RESUME] * acts.count(SUSPEND)


@dataclass
class Remaining:
    """A bot of which some credentials are accepted."""

    good: set[str] = field(default_factory=set)
    published: bool = True

    def accepts(self, secret: str) -> bool:
        """Tell whether it is one of them."""
        return secret in self.good

    def held_or_none(self) -> Held | None:
        """Return what is published."""
        return Held("secret", "eyJ.jwt", "opaque", (1, 1, 1)) if self.published else None

    def entry(self, _leaf: str) -> dict[str, str]:
        """Return the entry of the secret."""
        return {"client_secret": "secret"}

    def copy(self) -> dict[str, str]:
        """Return the copy."""
        return {"token": "opaque"}

    def consumers_agree(self) -> bool:
        """Say yes."""
        return True


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Two bots, one of which is gone and one of which lives."""
    monkeypatch.setattr(runs, "PATIENCE_SECONDS", 0.6)
    monkeypatch.setattr(runs, "TICK_SECONDS", 0.01)
    tenant = SimpleNamespace(stack=None, namespace="here", all_of=lambda _kind: [{"metadata": {"name": "lives"}}])
    tokens = {"eyJ.jwt": 403}
    authority = SimpleNamespace(admin_api_status=lambda token: tokens.get(token, 401), tokens=tokens)
    made = Batch(SimpleNamespace(tenant=tenant, authority=authority), random.Random(1), 0, Figures())  # type: ignore[arg-type] # noqa: S311
    made.bots = {"gone": Remaining(), "lives": Remaining({"secret"})}  # type: ignore[dict-item]
    made.ended = {"gone"}
    for name, secret in (("gone", "old"), ("lives", "secret"), ("lives", "former")):
        made.witness.heard[name].add("secret", secret)
    made.witness.heard["gone"].add("token", "eyJ.old")
    return made


def look(batch: Batch) -> Figures:
    """Look at all."""
    batch._look_at_the_gone()  # noqa: SLF001 - no servers, so not the whole of it
    batch._look_at_the_living()  # noqa: SLF001 - likewise
    return batch.figures


def test_what_is_well_is_told_so(batch: Batch) -> None:
    """And whoever is gone is looked at once."""
    assert look(batch).good
    assert batch.gone == {"gone"}


def test_a_secret_or_a_token_of_one_that_is_gone_is_found(batch: Batch) -> None:
    """Both count, and a lost look does too."""
    batch.bots["gone"].good.add("old")  # type: ignore[attr-defined]
    batch.world.authority.tokens["eyJ.old"] = 403  # type: ignore[attr-defined]
    assert look(batch).alive_after_end == ["gone: 1 secrets and 1 tokens are accepted"]


def test_one_that_lives_without_a_good_credential_is_found(batch: Batch) -> None:
    """Nothing published, or something that nobody takes."""
    batch.bots["lives"].good.clear()  # type: ignore[attr-defined]
    assert look(batch).without_credential == ["lives: secret is not good"]
    batch.bots["lives"].published = False  # type: ignore[attr-defined]
    assert look(batch).without_credential[1:] == ["lives: not everything is published"]


def test_a_former_secret_that_is_taken_and_remains_are_found(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is one of the two that must be none, and both are faults."""
    batch.bots["lives"].good.add("former")  # type: ignore[attr-defined]
    assert look(batch).others == ["lives, superfluous: 1 former secrets are accepted"]
    monkeypatch.setattr(runs, "estate_of", lambda _stack, _namespace: Estate(("here.gone",), (), (), ("gone",)))
    batch._look_for_remains()  # noqa: SLF001 - as above
    assert "here.gone" in batch.figures.others[1]
    assert not batch.figures.good
