"""Tests of the workers: what becomes of a key after each way in which a pass can end."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from fedid.engine.asks import Priority
from fedid.engine.backoff import Backoff
from fedid.engine.breaker import Breaker, BreakerOpenError, BreakerPolicy, BreakerState
from fedid.engine.work_queue import WorkQueue
from fedid.engine.workers import Outcome, PassReport, Retry, RetryPolicy, StrayCancellationError, Workers

from .virtual_time import complaints, in_virtual_time, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DELETION, CHANGE, DRIFT = Priority


class OutageError(Exception):
    """A backend is away."""


class SlowError(Exception):
    """Only a slow retry makes sense."""


def classify(error: Exception) -> Retry:
    """Tell outages, slow retries and bugs apart."""
    match error:
        case OutageError():
            return Retry(count_attempt=False)
        case SlowError():
            return Retry(after_seconds=300.0)
        case BreakerOpenError():
            return Retry(error.retry_after_seconds, count_attempt=False, parked_on=error.backend)
        case _:
            return Retry(is_bug=True)


class Shop:
    """A queue and its workers, whose passes do what the test says; delays are the longest that jitter allows."""

    def __init__(self, process: Callable[[str, Priority], Awaitable[Outcome]], count: int = 2) -> None:
        """Start `count` workers."""
        self.queue: WorkQueue[str] = WorkQueue()
        self.reports: list[PassReport[str]] = []
        policy = RetryPolicy(classify, Backoff(1.0, 60.0, uniform=max))
        self.workers = Workers(self.queue, process, policy, self.reports.append, count=count)
        self.workers.start()


class Script:
    """A pass that ends in another way each time, the last one for ever, and notes when it began."""

    def __init__(self, *endings: Outcome | BaseException) -> None:
        """End with these, in turn."""
        self.endings = list(endings)
        self.begun: list[tuple[float, Priority]] = []

    async def __call__(self, key: str, priority: Priority) -> Outcome:
        """Run one pass."""
        del key
        self.begun.append((asyncio.get_running_loop().time(), priority))
        await asyncio.sleep(0)
        ending = self.endings.pop(0) if len(self.endings) > 1 else self.endings[0]
        if isinstance(ending, BaseException):
            raise ending
        return ending


@in_virtual_time
async def test_a_good_pass_comes_back_when_it_asked_to() -> None:
    """The outcome's instant and priority are those of the next pass; none means only when asked."""
    script = Script(Outcome(5.0, DELETION), Outcome())
    shop = Shop(script)
    shop.queue.add("a")
    await asyncio.sleep(100)
    await shop.workers.stop(0)
    assert script.begun == [(0.0, CHANGE), (5.0, DELETION)]
    assert [(report.error, report.next_at) for report in shop.reports] == [(None, 5.0), (None, None)]


@in_virtual_time
async def test_keys_run_side_by_side_and_one_key_never_does() -> None:
    """As many passes run at a time as there are workers, each over another key."""
    running: list[str] = []
    peak = 0

    async def process(key: str, _: Priority) -> Outcome:
        nonlocal peak
        assert key not in running
        running.append(key)
        peak = max(peak, len(running))
        await asyncio.sleep(1)
        running.remove(key)
        return Outcome()

    shop = Shop(process, count=3)
    for _ in range(3):
        for key in "abcdef":
            shop.queue.add(key)
        await asyncio.sleep(0.5)
    await asyncio.sleep(20)
    await shop.workers.stop(0)
    assert peak == 3
    assert all(report.error is None for report in shop.reports)


@in_virtual_time
async def test_a_failing_key_backs_off_and_the_others_go_on() -> None:
    """Each failure in a row doubles the delay, at the priority the pass had, while other keys are worked on."""
    script = Script(KeyError(), KeyError(), KeyError(), Outcome(), KeyError(), Outcome())
    others: list[float] = []

    async def process(key: str, priority: Priority) -> Outcome:
        if key == "other":
            others.append(shop.queue.now())
            return Outcome(shop.queue.now() + 1.0)
        return await script(key, priority)

    shop = Shop(process, count=1)
    shop.queue.add("failing", DELETION)
    shop.queue.add("other")
    await asyncio.sleep(10.5)
    assert script.begun == [(0.0, DELETION), (1.0, DELETION), (3.0, DELETION), (7.0, DELETION)]
    assert others == [float(second) for second in range(11)]
    assert shop.queue.attempts("failing") == 0
    shop.queue.add("failing")
    await asyncio.sleep(3)
    await shop.workers.stop(0)
    assert [at for at, _ in script.begun[4:]] == [10.5, 11.5]


@in_virtual_time
async def test_a_bug_is_reported_with_its_traceback() -> None:
    """A bug reaches the report as it was raised, marked as a bug, with the attempts so far and the next instant."""
    bug = KeyError("bug")
    shop = Shop(Script(bug, bug, Outcome()))
    shop.queue.add("a")
    await asyncio.sleep(1.5)
    await shop.workers.stop(0)
    report = shop.reports[1]
    assert report.error is bug
    assert report.error.__traceback__ is not None
    assert report.retry == Retry(is_bug=True)
    assert (report.item.key, report.attempts, report.next_at, report.took_seconds) == ("a", 2, 3.0, 0.0)


@in_virtual_time
async def test_an_outage_spends_no_attempts() -> None:
    """Failures that are not the key's own back off by a streak of their own, which a success ends too."""
    script = Script(KeyError(), OutageError(), OutageError(), KeyError(), Outcome())
    shop = Shop(script)
    shop.queue.add("a")
    await asyncio.sleep(4.5)
    assert shop.queue.attempts("a") == 2
    await asyncio.sleep(50)
    await shop.workers.stop(0)
    assert [at for at, _ in script.begun] == [0.0, 1.0, 2.0, 4.0, 6.0]
    assert [report.attempts for report in shop.reports] == [1, 1, 1, 2, 0]


@in_virtual_time
async def test_a_named_delay_is_the_least_and_the_keys_own_comes_on_top() -> None:
    """Nobody comes back before the delay that was asked for, and not all at the same instant."""
    script = Script(SlowError(), SlowError(), Outcome())
    shop = Shop(script)
    shop.queue.add("a")
    await asyncio.sleep(1000)
    await shop.workers.stop(0)
    assert [at for at, _ in script.begun] == [0.0, 301.0, 603.0]


@pytest.mark.parametrize("after_seconds", [-1.0, math.inf, math.nan])
def test_what_is_no_delay_is_refused(after_seconds: float) -> None:
    """A delay that would leave the key waiting for ever cannot be asked for."""
    with pytest.raises(ValueError, match="not a delay"):
        Retry(after_seconds)


@in_virtual_time
async def test_a_classifier_that_fails_is_a_bug_of_its_own() -> None:
    """If telling failures apart fails, the key backs off and the report names that bug and, chained, the first."""
    first = KeyError("first")
    second = TypeError("second")

    def failing(_: Exception) -> Retry:
        raise second

    queue: WorkQueue[str] = WorkQueue()
    reports: list[PassReport[str]] = []
    workers = Workers(queue, Script(first, Outcome()), RetryPolicy(failing), reports.append, count=1)
    workers.start()
    queue.add("a")
    await settle()
    assert (queue.attempts("a"), queue.scheduled()) == (1, 1)
    assert reports[0].error is second
    assert second.__context__ is first
    assert reports[0].retry == Retry(is_bug=True)
    await workers.stop(0)


@in_virtual_time
async def test_an_outcome_that_makes_no_sense_is_a_bug_of_the_pass() -> None:
    """A pass that asks to come back at no instant fails; its worker does not."""
    shop = Shop(Script(Outcome(math.nan), Outcome()), count=1)
    shop.queue.add("a")
    await asyncio.sleep(5)
    assert isinstance(shop.reports[0].error, ValueError)
    assert shop.reports[1].error is None
    assert shop.workers.alive() == 1
    await shop.workers.stop(0)


@in_virtual_time
async def test_a_stray_cancellation_does_not_end_the_worker() -> None:
    """A CancelledError that nobody meant for the worker is a failure of the pass, with the cause chained."""
    stray = asyncio.CancelledError()
    shop = Shop(Script(stray, Outcome()), count=1)
    shop.queue.add("a")
    await asyncio.sleep(5)
    error = shop.reports[0].error
    assert isinstance(error, StrayCancellationError)
    assert error.__cause__ is stray
    assert shop.reports[1].error is None
    await shop.workers.stop(0)


@in_virtual_time
async def test_a_report_that_fails_does_not_end_the_worker() -> None:
    """A bug in what logs and counts goes to the loop's exception handler, and work goes on."""

    def failing(_: PassReport[str]) -> None:
        raise KeyError

    queue: WorkQueue[str] = WorkQueue()
    script = Script(Outcome())
    workers = Workers(queue, script, RetryPolicy(classify), failing, count=1)
    workers.start()
    for key in ("a", "b"):
        queue.add(key)
    await settle()
    assert len(script.begun) == len(complaints()) == 2
    complaints().clear()
    await workers.stop(0)


@in_virtual_time
async def test_an_add_during_a_failing_pass_is_not_held_back() -> None:
    """What happened during a pass is looked at right after it, whatever its backoff."""
    script = Script(KeyError(), Outcome())

    async def process(key: str, priority: Priority) -> Outcome:
        await asyncio.sleep(2)
        return await script(key, priority)

    shop = Shop(process)
    shop.queue.add("a", DRIFT)
    await asyncio.sleep(1)
    shop.queue.add("a", CHANGE)
    await asyncio.sleep(10)
    await shop.workers.stop(0)
    assert script.begun == [(2.0, DRIFT), (4.0, CHANGE)]


@in_virtual_time
async def test_keys_parked_on_an_open_breaker_are_woken_when_it_closes() -> None:
    """No key waits out its delay once the backend answers, and the outage has cost none of them an attempt."""
    breaker = Breaker("vault", BreakerPolicy(threshold=1, cooldown_seconds=20.0))
    done_at: dict[str, float] = {}

    async def process(key: str, _: Priority) -> Outcome:
        breaker.check()
        done_at[key] = shop.queue.now()
        return Outcome()

    def wake(state: BreakerState) -> None:
        if state is BreakerState.CLOSED:
            shop.queue.wake(breaker.backend)

    shop = Shop(process)
    breaker.on_change(wake)
    breaker.failed()
    for key in "abc":
        shop.queue.add(key)
    await asyncio.sleep(5)
    assert shop.queue.parking.count("vault") == 3
    assert [report.next_at for report in shop.reports] == [21.0] * 3
    assert [report.attempts for report in shop.reports] == [0] * 3
    with breaker.probing():
        breaker.succeeded()
    await asyncio.sleep(1)
    await shop.workers.stop(0)
    assert done_at == dict.fromkeys("abc", 5.0)


@in_virtual_time
async def test_a_pass_that_fails_just_after_the_wake_up_is_not_left_parked() -> None:
    """If the backend comes back between the refusal of a call and the end of its pass, the long delay is spared."""
    begun: list[float] = []

    async def process(_: str, __: Priority) -> Outcome:
        begun.append(shop.queue.now())
        if len(begun) == 1:
            await asyncio.sleep(2)
            msg = "vault"
            raise BreakerOpenError(msg, retry_at=100.0, retry_after_seconds=98.0)
        return Outcome()

    shop = Shop(process)
    shop.queue.add("a")
    await asyncio.sleep(1)
    assert shop.queue.wake("vault") == 0
    await asyncio.sleep(10)
    await shop.workers.stop(0)
    assert begun == [0.0, 3.0]


@in_virtual_time
async def test_passes_without_a_wait_do_not_hold_the_loop() -> None:
    """Others on the loop get their turn between two passes, however many keys are ready and however little they do."""
    passes = 0

    async def process(_: str, __: Priority) -> Outcome:
        nonlocal passes
        passes += 1
        return Outcome()

    shop = Shop(process, count=1)
    for number in range(1000):
        shop.queue.add(str(number))
    for _ in range(10):
        await asyncio.sleep(0)
    assert 0 < passes <= 20
    await shop.workers.stop(0)


class TestStop:
    """What happens at the end."""

    @in_virtual_time
    async def test_running_passes_may_end_within_the_grace(self) -> None:
        """Nothing new begins, what runs may finish, and who needs longer is cancelled when the grace is over."""
        ended: list[str] = []

        async def process(key: str, _: Priority) -> Outcome:
            try:
                await asyncio.sleep(float(key))
            except asyncio.CancelledError:
                ended.append(f"{key} cancelled at {shop.queue.now()}")
                raise
            ended.append(f"{key} finished")
            return Outcome()

        shop = Shop(process)
        for key in ("2", "50", "1"):
            shop.queue.add(key)
        await asyncio.sleep(1)
        await shop.workers.stop(5.0)
        assert ended == ["2 finished", "50 cancelled at 6.0"]
        assert (shop.workers.alive(), shop.queue.active()) == (0, 0)
        assert [report.item.key for report in shop.reports] == ["2"]

    @in_virtual_time
    async def test_ends_as_soon_as_the_last_pass_does(self) -> None:
        """The grace is a limit, not a pause, and stopping twice does no harm."""
        shop = Shop(Script(Outcome()))
        shop.queue.add("a")
        await settle()
        await shop.workers.stop(30.0)
        await shop.workers.stop(30.0)
        assert shop.queue.now() == 0.0

    @in_virtual_time
    async def test_being_cancelled_ends_the_grace(self) -> None:
        """Who gives up on stopping gently gets the passes cancelled at once."""
        cancelled_at: list[float] = []

        async def process(_: str, __: Priority) -> Outcome:
            try:
                await asyncio.sleep(100)
            finally:
                cancelled_at.append(shop.queue.now())
            return Outcome()

        shop = Shop(process, count=1)
        shop.queue.add("a")
        await settle()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await shop.workers.stop(30.0)
        await settle()
        assert cancelled_at == [3.0]
        assert shop.workers.alive() == 0

    @in_virtual_time
    async def test_a_cancelled_worker_gives_its_key_back(self) -> None:
        """If one worker is cancelled while the queue lives on, another repeats its pass at once and as urgently."""
        begun: list[tuple[float, Priority]] = []

        async def process(_: str, priority: Priority) -> Outcome:
            begun.append((shop.queue.now(), priority))
            if len(begun) == 1:
                await asyncio.sleep(100)
            return Outcome()

        shop = Shop(process)
        shop.queue.add("a", DELETION)
        await asyncio.sleep(1)
        victim = next(task for task in asyncio.all_tasks() if task.get_name() == "worker-0")
        victim.cancel()
        await asyncio.wait([victim])
        await settle()
        assert victim.cancelled()
        assert begun == [(0.0, DELETION), (1.0, DELETION)]
        assert shop.workers.alive() == 1
        assert [report.error for report in shop.reports] == [None]
        await shop.workers.stop(0)

    @in_virtual_time
    async def test_workers_that_never_started_stop(self) -> None:
        """A replica that never led closes its queue like any other."""
        queue: WorkQueue[str] = WorkQueue()
        workers = Workers(queue, Script(Outcome()), RetryPolicy(classify), lambda _: None, count=1)
        await workers.stop(1.0)
        assert workers.alive() == 0


@in_virtual_time
async def test_workers_start_once_and_are_at_least_one() -> None:
    """Starting twice would double them without a word, and none would let the queue fill for ever."""
    shop = Shop(Script(Outcome()))
    with pytest.raises(RuntimeError, match="started before"):
        shop.workers.start()
    with pytest.raises(ValueError, match="at least one"):
        Workers(shop.queue, Script(Outcome()), RetryPolicy(classify), shop.reports.append, count=0)
    await shop.workers.stop(0)
