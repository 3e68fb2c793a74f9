"""A bot that is suspended or expired: nothing usable of it is left, and nothing of before ever comes back."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest

from fedid.domain.conditions import condition_of, rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FINALIZER, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendRejectedError, BackendUnavailableError
from tests.fakes.failures import Failures
from tests.fakes.pods import pod_manifest
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
CLIENT_ID = f"{NAMESPACE}.trainer"
TOKENS = {"tokens": [{"name": "default", "lifetime": "1h"}]}


class Crash(BaseException):
    """The process ends here."""


def want(operator: SmallOperator, **spec: Any) -> None:
    """Apply the bot with its one token and these fields."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {**TOKENS, **spec})


def instant(operator: SmallOperator, seconds: float) -> str:
    """Return the instant in so many seconds, as a manifest says it."""
    return rfc3339(operator.clock.now() + timedelta(seconds=seconds))


def ready(operator: SmallOperator, kind: str = BOT_CLIENT) -> tuple[str, str]:
    """Return status and reason of `Ready`."""
    found = condition_of(operator.status(kind, "trainer")["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    return found["status"], found["reason"]


def mounted(operator: SmallOperator) -> set[str]:
    """Return what the Secret holds."""
    return {value.reveal() for value in operator.cluster.secrets[NAMESPACE, "trainer"].data.values()}


def stored(operator: SmallOperator) -> list[str]:
    """Return the paths in Vault."""
    return sorted(operator.store.entries)


def proofs(operator: SmallOperator) -> list[str]:
    """Return the Events that tell a proof."""
    return [event.message for event in operator.cluster.events if event.reason == "RevocationProven"]


def written(operator: SmallOperator) -> int:
    """Return how much was written anywhere, nudges and Events included."""
    cluster = operator.cluster
    made = (operator.writes(), cluster.nudges, cluster.events, operator.provider.writes, operator.store.writes)
    return sum(len(record) for record in made)


class Credentials:
    """What somebody holds who took everything: what is published, and a token minted with it beside the operator."""

    def __init__(self, operator: SmallOperator, secret: Sensitive, tokens: list[Sensitive]) -> None:
        """Remember them."""
        self._operator, self._tokens = operator, tokens
        self.secret = ClientCredentials(CLIENT_ID, secret)

    @classmethod
    async def of(cls, operator: SmallOperator) -> Credentials:
        """Take what there is."""
        client = operator.provider.realm.client(CLIENT_ID)
        assert client is not None
        assert client.secret is not None
        minted = await operator.provider.mint(ClientCredentials(CLIENT_ID, client.secret))
        assert minted is not None
        published = [Sensitive(text) for text in mounted(operator) if text]
        assert published
        return cls(operator, client.secret, [*published, minted.token])

    async def accepted(self) -> list[bool]:
        """Present all of them: each token, then the secret."""
        provider = self._operator.provider
        found = [provider.realm.accepts(token) for token in self._tokens]
        return [*found, not await provider.credentials_refused(self.secret)]


async def published() -> SmallOperator:
    """Return an operator with a bot that is published, and a PodIdentity that a pod mounts."""
    made = SmallOperator()
    made.cluster.put_pod(pod_manifest(NAMESPACE, "trainer-1", {"app": "trainer"}, mounts=["trainer"]))
    want(made)
    platform = {"generic": {"files": {"token": "{token}"}}}
    pods = {"selector": {"matchLabels": {"app": "trainer"}}}
    spec = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": platform, "pods": pods}
    made.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec)
    await made.advance(10)
    assert ready(made) == ("True", "Ready")
    assert ready(made, POD_IDENTITY) == ("True", "Ready")
    return made


@pytest.fixture
async def operator() -> SmallOperator:
    """A bot that is published, and a PodIdentity that a pod mounts."""
    return await published()


def assert_nothing_is_left(operator: SmallOperator, reason: str) -> None:
    """See the end of a withdrawal: nothing outside, empty Secrets, and a status that says why."""
    assert operator.provider.realm.client(CLIENT_ID) is None
    assert stored(operator) == []
    assert mounted(operator) == {""}
    assert ready(operator) == ("False", reason)
    assert ready(operator, POD_IDENTITY) == ("False", reason)
    assert FINALIZER not in operator.cluster.bodies[BOT]["metadata"].get("finalizers", [])
    assert not {"clientUuid", "secret", "tokens", "revocation"} & operator.status(BOT_CLIENT, "trainer").keys()


async def test_a_suspended_bot_is_withdrawn_with_proof_and_stays(operator: SmallOperator) -> None:
    """Every credential is refused, pods are told, the status keeps the proof, and one Event tells it."""
    taken = await Credentials.of(operator)
    operator.cluster.nudges.clear()
    assert all(await taken.accepted())
    want(operator, suspend=True)
    await operator.advance(5)

    assert_nothing_is_left(operator, "Suspended")
    assert not any(await taken.accepted())
    revoked = condition_of(operator.status(BOT_CLIENT, "trainer")["conditions"], "Revoked")  # type: ignore[arg-type]
    assert revoked is not None
    assert (revoked["status"], revoked["reason"]) == ("True", "Proven")
    assert "token default" in revoked["message"]
    assert "the bot secret is refused (invalid_client)" in revoked["message"]
    (proof,) = proofs(operator)
    assert revoked["message"] in proof
    assert "was accepted at" in proof
    assert [name for name, _ in operator.cluster.nudges] == ["trainer-1", "trainer-1"]


async def test_while_it_is_suspended_nothing_is_written(operator: SmallOperator) -> None:
    """Neither by another pass, nor by time, nor by a new process."""
    want(operator, suspend=True)
    await operator.advance(60)
    before = written(operator)
    await operator.look()
    await operator.advance(3600)
    operator.restart()
    await operator.advance(60)

    assert written(operator) == before
    assert_nothing_is_left(operator, "Suspended")


@pytest.mark.parametrize("again", [{"suspend": False}, {}], ids=["suspend: false", "suspend is taken out"])
async def test_a_bot_that_is_resumed_has_everything_anew(operator: SmallOperator, again: dict[str, Any]) -> None:
    """Another secret and other tokens are accepted, and those of before never again."""
    taken = await Credentials.of(operator)
    want(operator, suspend=True)
    await operator.advance(5)
    want(operator, **again)
    await operator.advance(5)

    assert ready(operator) == ("True", "Ready")
    assert ready(operator, POD_IDENTITY) == ("True", "Ready")
    fresh = await Credentials.of(operator)
    assert all(await fresh.accepted())
    assert not any(await taken.accepted())
    assert condition_of(operator.status(BOT_CLIENT, "trainer")["conditions"], "Revoked") is None  # type: ignore[arg-type]
    before = written(operator)
    await operator.look()
    assert written(operator) == before


async def test_a_suspension_that_is_called_off_halfway_is_finished_first(operator: SmallOperator) -> None:
    """Keycloak was away when it was begun: a token that nobody published is dead all the same afterwards."""
    taken = await Credentials.of(operator)
    away = BackendUnavailableError("no answer", backend="keycloak")
    operator.provider.failures.add("delete_client", away, times=None)
    want(operator, suspend=True)
    await operator.advance(5)
    assert mounted(operator) == {""}
    assert ready(operator) == ("False", "BackendUnavailable")
    assert operator.status(BOT_CLIENT, "trainer")["revocation"]["reason"] == "Suspended"
    assert ready(operator, POD_IDENTITY) == ("False", "Suspended")
    want(operator)
    await operator.advance(5)
    assert ready(operator, POD_IDENTITY) == ("False", "Suspended")
    operator.provider.failures.clear()
    await operator.advance(60)

    assert ready(operator) == ("True", "Ready")
    assert not any(await taken.accepted())
    assert all(await (await Credentials.of(operator)).accepted())
    assert len(proofs(operator)) == 1


async def test_a_bot_expires_at_the_very_instant(operator: SmallOperator) -> None:
    """Not a second before, and nobody has to ask; the last renewal of its token changes nothing about it."""
    want(operator, expiresAt=instant(operator, 1000))
    await operator.settle()
    expires_at = operator.clock.seconds + 1000
    await operator.advance(999)
    taken = await Credentials.of(operator)
    assert all(await taken.accepted())
    assert operator.due[BOT] == pytest.approx(expires_at, abs=1e-4)
    assert ready(operator) == ("True", "Ready")
    await operator.advance(1.001)

    assert mounted(operator) == {""}
    assert not any(await taken.accepted())
    await operator.advance(5)
    assert_nothing_is_left(operator, "Expired")
    before = written(operator)
    await operator.look()
    await operator.advance(3600)
    assert written(operator) == before


async def test_a_bot_expires_in_time_though_its_passes_fail(operator: SmallOperator) -> None:
    """Its retry would come later than the instant; what is mounted does not wait for the backend either."""
    refused = BackendRejectedError("no", backend="keycloak")
    operator.provider.failures.add("read_client", refused, times=None)
    want(operator, expiresAt=instant(operator, 20))
    await operator.advance(19)
    assert ready(operator) == ("False", "BackendRejected")
    assert mounted(operator) != {""}
    await operator.advance(1)

    assert mounted(operator) == {""}
    assert ready(operator, POD_IDENTITY) == ("False", "Expired")
    operator.provider.failures.clear()
    await operator.advance(60)
    assert_nothing_is_left(operator, "Expired")


@pytest.mark.parametrize("later", [3600, None], ids=["a later instant", "none"])
async def test_another_instant_brings_an_expired_bot_back(operator: SmallOperator, later: int | None) -> None:
    """With everything anew."""
    taken = await Credentials.of(operator)
    want(operator, expiresAt=instant(operator, 5))
    await operator.advance(30)
    assert_nothing_is_left(operator, "Expired")
    want(operator, **({} if later is None else {"expiresAt": instant(operator, later)}))
    await operator.advance(5)

    assert ready(operator) == ("True", "Ready")
    assert all(await (await Credentials.of(operator)).accepted())
    assert not any(await taken.accepted())


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"suspend": True}, "Suspended"), ({"expiresAt": "2025-12-31T23:59:59Z"}, "Expired")],
    ids=["suspended", "an instant in the past"],
)
async def test_a_bot_that_is_not_wanted_at_creation_makes_nothing(spec: dict[str, Any], reason: str) -> None:
    """Not even a finalizer: one status, and no Event of a proof."""
    operator = SmallOperator()
    want(operator, **spec)
    await operator.advance(700)

    assert ready(operator) == ("False", reason)
    assert [call.operation for call in operator.cluster.writes if call.target == str(BOT)] == ["patch_status"]
    assert operator.provider.writes == []
    assert operator.store.writes == []
    assert proofs(operator) == []
    assert operator.status(BOT_CLIENT, "trainer")["federation"] == "local"


async def test_what_mounts_a_bot_that_was_refused_says_too_that_it_expired() -> None:
    """At once, as the bot itself: its own next look is minutes away."""
    operator = SmallOperator()
    pod = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": {"generic": {"files": {"a": "{token}"}}}}
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", pod)
    want(operator, realmRoles=["offline_access"], expiresAt=instant(operator, 100))
    await operator.advance(99)
    assert ready(operator)[1] == ready(operator, POD_IDENTITY)[1] == "NotGranted"
    await operator.advance(2)
    assert ready(operator) == ("False", "Expired")
    assert ready(operator, POD_IDENTITY) == ("False", "Expired")


async def test_an_instant_that_passes_while_it_is_suspended_changes_nothing(operator: SmallOperator) -> None:
    """It stays `Suspended`, without a write; resumed, it says `Expired`, and nothing is made."""
    want(operator, suspend=True, expiresAt=instant(operator, 100))
    await operator.advance(50)
    before = written(operator)
    await operator.advance(100)
    await operator.look()
    assert written(operator) == before
    assert_nothing_is_left(operator, "Suspended")
    expired = rfc3339(operator.clock.now() - timedelta(seconds=50))
    want(operator, expiresAt=expired)
    await operator.advance(5)

    assert_nothing_is_left(operator, "Expired")
    assert operator.provider.realm.client(CLIENT_ID) is None
    revoked = condition_of(operator.status(BOT_CLIENT, "trainer")["conditions"], "Revoked")  # type: ignore[arg-type]
    assert revoked is not None
    assert revoked["reason"] == "Proven"


async def test_a_suspended_bot_is_withdrawn_also_where_nothing_is_granted(operator: SmallOperator) -> None:
    """A role that no rule covers keeps nobody from suspending, and the reason is `Suspended`."""
    taken = await Credentials.of(operator)
    grants = operator.cluster.bodies[ObjectKey("Federation", "", "local")]["spec"]
    operator.cluster.apply("Federation", None, "local", {**grants, "grants": []})
    want(operator, suspend=True, realmRoles=["offline_access"])
    await operator.advance(30)

    assert_nothing_is_left(operator, "Suspended")
    assert not any(await taken.accepted())


async def test_a_suspended_bot_is_deleted_at_once(operator: SmallOperator) -> None:
    """Its proof was told when it was suspended; there is nothing to wait for, Keycloak away or not."""
    taken = await Credentials.of(operator)
    want(operator, suspend=True)
    await operator.advance(5)
    operator.provider.failures.add("*", BackendUnavailableError("no answer", backend="keycloak"), times=None)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.settle()

    assert BOT not in operator.cluster.bodies
    operator.provider.failures.clear()
    assert not any(await taken.accepted())
    assert len(proofs(operator)) == 1


async def test_a_bot_that_is_deleted_while_it_is_withdrawn_is_proven_and_goes(operator: SmallOperator) -> None:
    """The deletion goes on where the withdrawal was, positive check included."""
    taken = await Credentials.of(operator)
    operator.provider.failures.add("delete_client", BackendUnavailableError("no", backend="keycloak"), times=None)
    want(operator, suspend=True)
    await operator.advance(5)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.settle()
    assert BOT in operator.cluster.bodies
    operator.provider.failures.clear()
    await operator.advance(60)

    assert BOT not in operator.cluster.bodies
    assert stored(operator) == []
    assert not any(await taken.accepted())
    (proof,) = proofs(operator)
    assert "was accepted at" in proof


class Dying(Failures):
    """Ends the process after so many effects, of whatever backend; only the answer of the last one is lost."""

    def __init__(self, operator: SmallOperator, effects: int) -> None:
        """Stand in all three fakes."""
        super().__init__()
        self.left = effects
        operator.cluster.failures = operator.provider.failures = operator.store.failures = self

    def strike(self, operation: str, target: str, at: str) -> None:
        """Count the effect."""
        super().strike(operation, target, at)
        if at == "after":
            self.left -= 1
            if self.left == 0:
                raise Crash

    def survived(self) -> bool:
        """Tell whether there were fewer effects than that."""
        return self.left > 0


async def dies(operator: SmallOperator, effects: int, *, called_off: bool = False) -> bool:
    """Let the process die after so many effects and another one go on; False if it had nothing left to do before.

    With `called_off`, the bot is wanted again when the other one starts, within the same instant.
    """
    dying = Dying(operator, effects)
    with contextlib.suppress(Crash):
        await operator.advance(30)
    operator.cluster.failures = operator.provider.failures = operator.store.failures = Failures()
    if dying.survived():
        return False
    if called_off:
        want(operator)
    operator.restart()
    await operator.advance(60)
    return True


async def test_the_proof_says_until_when_tokens_are_good_for_who_asks_nobody() -> None:
    """The published one until its end, and one that was got with the secret just before for a whole life more."""
    operator = await published()
    entry = operator.store.data_of(f"fedid/{NAMESPACE}/bots/trainer/tokens/default")
    token = operator.provider.realm.tokens[entry["token"]]
    await operator.advance(60)
    want(operator, suspend=True)
    await operator.advance(30)
    (told,) = proofs(operator)
    life = token.expires_at - token.issued_at
    seen_at = datetime.fromisoformat(told.partition("Proven at ")[2].partition(": ")[0])
    assert f"may take a published token until {rfc3339(token.expires_at)}, and one that a pod got by itself" in told
    assert f"until {rfc3339(seen_at + life + timedelta(seconds=1))}" in told


async def test_wherever_a_withdrawal_is_cut_off_it_ends_the_same() -> None:
    """After each single effect of it: all is gone and dead, and no proof is told that says less than was seen."""
    effects, cut = 0, True
    while cut:
        effects += 1
        operator = await published()
        taken = await Credentials.of(operator)
        want(operator, suspend=True)
        cut = await dies(operator, effects)
        assert_nothing_is_left(operator, "Suspended")
        assert not any(await taken.accepted()), effects
        told = proofs(operator)
        assert len(told) in {1, 2}, (effects, told)
        assert all("was accepted at" in proof and "is refused" in proof for proof in told), (effects, told)
        want(operator)
        await operator.advance(30)
        assert ready(operator) == ("True", "Ready"), effects
        assert not any(await taken.accepted()), effects
    assert effects > 8, "it was cut off in a few places only"


async def test_wherever_a_withdrawal_is_cut_off_and_called_off_nothing_of_before_lives_on() -> None:
    """The next process knows nothing of the former, not even that a client was deleted within this second."""
    effects = 1  # after the first, the finalizer and the status say that it was begun
    while True:
        operator = await published()
        taken = await Credentials.of(operator)
        want(operator, suspend=True)
        if not await dies(operator, effects, called_off=True):
            break
        assert ready(operator) == ("True", "Ready"), effects
        assert all(await (await Credentials.of(operator)).accepted()), effects
        assert not any(await taken.accepted()), effects
        effects += 1
    assert effects > 8, "it was cut off in a few places only"


async def test_wherever_a_return_is_cut_off_it_ends_the_same() -> None:
    """After each single effect of it: what is new is good, and what is old is dead; then it is suspended as ever."""
    effects, cut = 0, True
    while cut:
        effects += 1
        operator = await published()
        taken = await Credentials.of(operator)
        want(operator, suspend=True)
        await operator.advance(5)
        want(operator)
        cut = await dies(operator, effects)
        assert ready(operator) == ("True", "Ready"), effects
        assert ready(operator, POD_IDENTITY) == ("True", "Ready"), effects
        fresh = await Credentials.of(operator)
        assert all(await fresh.accepted()), effects
        assert not any(await taken.accepted()), effects
        want(operator, suspend=True)
        await operator.advance(30)
        assert_nothing_is_left(operator, "Suspended")
        assert not any(await fresh.accepted()), effects
    assert effects > 6, "it was cut off in a few places only"
