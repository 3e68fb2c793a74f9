"""Opaque tokens and copies in a platform's layout; on the fakes, in a time that is moved by hand."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.stored import VaultMark
from fedid.engine import Priority
from fedid.errors import BackendRejectedError, BackendUnavailableError
from tests.reconcile.rotating import BOT, PLATFORM, Rotating
from tests.reconcile.test_suspension import dies

OPAQUE = {"name": "list", "type": "opaque", "lifetime": "60m", "overlap": "5m"}
COPIED = {**OPAQUE, "vaultMount": PLATFORM, "vaultPath": "users/{subject}/{name}", "vaultKey": "key"}


def copy(bot: Rotating) -> dict[str, str]:
    """Return the copy, without the marks."""
    path = f"users/{bot.status['serviceAccountSubject']}/trainer"
    return bot.vault(path, PLATFORM)


async def test_a_token_of_256_bits_is_replaced_with_an_overlap() -> None:
    """Both are in the entry for as long as both are good; a token has 64 digits and is never there twice."""
    bot = await Rotating.begun(tokens=[OPAQUE])
    seen = [bot.vault("tokens/list")["token"]]
    for _ in range(3):
        while (entry := bot.vault("tokens/list"))["token"] == seen[-1]:
            await bot.operator.advance(30)
        assert entry["previous_token"] == seen[-1]
        await bot.operator.advance(240)
        assert bot.vault("tokens/list")["previous_token"] == seen[-1]
        await bot.operator.advance(120)
        assert "previous_token" not in bot.vault("tokens/list")
        seen.append(entry["token"])
    assert len({*seen}) == 4
    assert all(len(token) == 64 and int(token, 16) for token in seen)
    assert bot.told("DriftRepaired") == []


async def test_a_token_written_by_a_hand_is_not_trusted() -> None:
    """Whoever can write there must not choose what servers take: a third one, and neither of the two stays."""
    bot = await Rotating.begun(tokens=[OPAQUE])
    path, ours = "fedid/site-a/bots/trainer/tokens/list", bot.vault("tokens/list")["token"]
    mark = bot.operator.store.entries[path].mark
    bot.operator.store.put_by_hand(path, {**bot.vault("tokens/list"), "token": "f" * 64}, mark)
    await bot.operator.look()
    assert bot.vault("tokens/list")["token"] not in {ours, "f" * 64}
    assert "previous_token" not in bot.vault("tokens/list")
    (message,) = bot.told("DriftRepaired")
    assert "the token in Vault was changed" in message


async def test_a_token_whose_first_pass_was_cut_before_the_status_stays() -> None:
    """It is what is asked for; the looks that follow have no reason to make another one."""
    bot = Rotating()
    await bot.operator.advance(5)
    bot.want(tokens=[OPAQUE, {"name": "jwt", "lifetime": "60m"}])
    cut = BackendUnavailableError("no answer", backend="vault")
    bot.operator.store.failures.add("write", cut, when=lambda path: path.endswith("tokens/jwt"))
    with pytest.raises(BackendUnavailableError):
        await bot.operator.dispatch(BOT, Priority.CHANGE)
    made = bot.vault("tokens/list")["token"]
    await bot.operator.advance(60)
    assert bot.ready() == ("True", "Ready")
    bot.operator.restart()
    await bot.operator.look()
    await bot.operator.look()
    assert bot.vault("tokens/list")["token"] == made
    assert "previous_token" not in bot.vault("tokens/list")


async def test_a_status_that_cannot_be_written_for_longer_than_a_token_lives() -> None:
    """It is renewed once: by the status alone one in use is known as ours, so the next waits. None is drift."""
    bot = await Rotating.begun(tokens=[{**OPAQUE, "lifetime": "10m", "overlap": "1m"}])
    first = bot.vault("tokens/list")["token"]
    denied = BackendRejectedError("a webhook denies it", backend="kubernetes")
    bot.operator.cluster.failures.add("patch_status", denied, times=None, when=lambda key: key == str(BOT))
    while (second := bot.vault("tokens/list")["token"]) == first:
        await bot.operator.advance(5)
    await bot.operator.advance(900)
    entry = bot.vault("tokens/list")
    assert (entry["token"], entry["previous_token"]) == (second, first)
    bot.operator.cluster.failures.clear()
    await bot.operator.advance(120)
    assert bot.ready() == ("True", "Ready")
    assert bot.vault("tokens/list")["token"] != second
    assert bot.told("DriftRepaired") == []


async def test_the_copy_follows_and_goes() -> None:
    """Written after the entry, put back when it is changed, moved with its path, removed with the bot."""
    bot = await Rotating.begun(tokens=[COPIED])
    assert copy(bot)["key"] == bot.vault("tokens/list")["token"]
    assert "previous_key" not in copy(bot)
    bot.annotate(rotate="token-1")
    await bot.operator.advance(10)
    entry = bot.vault("tokens/list")
    assert (copy(bot)["key"], copy(bot)["previous_key"]) == (entry["token"], entry["previous_token"])
    path = f"users/{bot.status['serviceAccountSubject']}/trainer"
    platform = bot.operator.store.mounts[PLATFORM]
    platform.put_by_hand(path, {"key": "by hand"}, platform.entries[path].mark)
    await bot.operator.look()
    assert copy(bot)["key"] == entry["token"]
    assert any("the copy of token list in Vault" in message for message in bot.told("DriftRepaired"))
    await bot.operator.advance(400)
    bot.want(tokens=[{**COPIED, "vaultPath": "elsewhere/{name}"}])
    await bot.operator.advance(10)
    assert path not in platform.entries
    assert "elsewhere/trainer" in platform.entries
    bot.want(tokens=[{**COPIED, "vaultPath": "elsewhere/{name}"}], suspend=True)
    await bot.operator.advance(10)
    assert platform.entries == {}


async def test_a_stranger_in_the_way_of_a_copy_stops_nothing_else() -> None:
    """The token goes on being renewed, the stranger's entry stays, and the condition says whose it is."""
    other: dict[str, Any] = {"name": "default", "lifetime": "60s"}
    bot = await Rotating.begun(tokens=[other])
    platform = bot.operator.store.mounts[PLATFORM]
    platform.put_by_hand("users/x", {"key": "theirs"}, VaultMark("another/uid", "BotClient/b/c"))
    bot.want(tokens=[other, {**COPIED, "vaultPath": "users/x"}])
    await bot.operator.advance(10)
    assert bot.ready()[1] == "Conflict"
    before = bot.vault("tokens/default")["token"]
    await bot.operator.advance(120)
    assert bot.vault("tokens/default")["token"] != before
    assert platform.data_of("users/x")["key"] == "theirs"


async def test_wherever_a_replacement_is_cut_off_the_copy_is_the_entry() -> None:
    """After each single effect: one token, one copy of it, none left anywhere."""
    effects, cut = 0, True
    while cut:
        effects += 1
        bot = await Rotating.begun(tokens=[{**COPIED, "overlap": "30s"}])
        first = bot.vault("tokens/list")["token"]
        bot.want(tokens=[{**COPIED, "overlap": "30s", "vaultPath": "moved/{name}"}])
        cut = await dies(bot.operator, effects)
        await bot.operator.advance(90)
        entry = bot.vault("tokens/list")
        assert entry["token"] == first, "it only moved"
        platform = bot.operator.store.mounts[PLATFORM]
        assert [*platform.entries] == ["moved/trainer"], effects
        assert platform.data_of("moved/trainer")["key"] == entry["token"]
        assert bot.ready() == ("True", "Ready")
    assert effects > 2, "it was cut off in a few places only"
