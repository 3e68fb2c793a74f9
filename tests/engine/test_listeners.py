"""Tests of the callbacks that must not harm their callers."""

from __future__ import annotations

from fedid.engine.listeners import tell

from .virtual_time import complaints, in_virtual_time


def test_the_listener_hears_the_news() -> None:
    """A listener is called at once, and needs no loop as long as it does not fail."""
    heard: list[str] = []
    tell(heard.append, "news")
    assert heard == ["news"]


@in_virtual_time
async def test_a_failing_listener_is_reported_to_the_loop() -> None:
    """What a listener raises reaches the loop's exception handler and not the caller."""
    bug = KeyError("bug")

    def listener(_: str) -> None:
        raise bug

    tell(listener, "news")
    assert [context["exception"] for context in complaints()] == [bug]
    complaints().clear()
