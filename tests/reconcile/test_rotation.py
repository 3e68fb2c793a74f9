"""The bot secret changes, and nobody notices; on the fakes, in a time that is moved by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.conditions import ConditionType
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import MintedToken
from fedid.errors import BackendUnavailableError
from tests.reconcile.rotating import BOT, HOURLY, POLICY, Rotating
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_suspension import dies

_TOKEN = [{"name": "default", "lifetime": "20h"}]


async def test_by_schedule_the_former_secret_stays_good_for_the_overlap() -> None:
    """Hour after hour: the new one is proven, published and mounted, the former ends after five minutes."""
    bot = await Rotating.begun(secretRotation=HOURLY, tokens=_TOKEN)
    seen = [bot.mounted()]
    for _ in range(3):
        while bot.mounted() == seen[-1]:
            await bot.operator.advance(30)
            await bot.assert_consumers_get_in()
        assert bot.vault()["previous_client_secret"] == seen[-1]
        assert bot.status["secret"]["previousEndsAt"]
        for _ in range(9):
            assert await bot.accepted(seen[-1])
            await bot.operator.advance(30)
        await bot.operator.advance(60)
        assert not await bot.accepted(seen[-1])
        assert "previous_client_secret" not in bot.vault()
        assert "previousEndsAt" not in bot.status["secret"]
        assert bot.client.previous_secret is None
        seen.append(bot.mounted())
    assert len({*seen}) == 4
    assert bot.told("DriftRepaired") == []


async def test_passes_that_look_at_vault_alone_do_not_forget_the_end() -> None:
    """A token that is renewed within the overlap leaves the schedule of the secret as it is."""
    bot = await Rotating.begun(secretRotation=HOURLY, tokens=[{"name": "default", "lifetime": "60s"}])
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(60)
    ends_at = bot.status["secret"]["previousEndsAt"]
    await bot.operator.advance(120)
    assert bot.status["secret"]["previousEndsAt"] == ends_at
    await bot.operator.advance(150)
    assert bot.client.previous_secret is None
    assert "previous_client_secret" not in bot.vault()


async def test_every_value_of_the_annotation_is_carried_out_once() -> None:
    """A restart, and whatever passes follow, repeat nothing; the next value waits for the end of the overlap."""
    bot = await Rotating.begun(tokens=_TOKEN, secretRotation={"overlap": "5m"})
    first, token = bot.mounted(), bot.vault("tokens/default")["token"]
    bot.annotate(rotate="all-1")
    await bot.operator.advance(10)
    second = bot.mounted()
    assert second != first
    assert bot.vault("tokens/default")["token"] != token
    assert (bot.status["secret"]["rotatedFor"], bot.status["tokens"][0]["rotatedFor"]) == ("all-1", "all-1")
    token = bot.vault("tokens/default")["token"]
    bot.operator.restart()
    await bot.operator.look()
    assert (bot.mounted(), bot.vault("tokens/default")["token"]) == (second, token)
    bot.annotate(rotate="secret-2")
    await bot.operator.advance(60)
    assert bot.mounted() == second, "a third secret would end the first one too early"
    assert await bot.accepted(first)
    await bot.operator.advance(300)
    assert bot.mounted() not in {first, second}
    assert bot.vault("tokens/default")["token"] == token
    assert (bot.status["secret"]["rotatedFor"], bot.status["tokens"][0]["rotatedFor"]) == ("secret-2", "all-1")


async def test_a_value_that_means_nothing_is_told_once() -> None:
    """It changes nothing, and the Event says what to write."""
    bot = await Rotating.begun(tokens=_TOKEN)
    before = bot.mounted()
    bot.annotate(rotate="everything")
    await bot.operator.advance(60)
    await bot.operator.look()
    (message,) = bot.told("RotateIgnored")
    assert "token, secret or all" in message
    assert bot.mounted() == before


@pytest.mark.parametrize("asked", ["by the spec", "by the annotation"])
async def test_where_the_realm_keeps_one_secret_it_stays_and_that_is_told(asked: str) -> None:
    """`OverlapImpossible`, with what to do; once the policy is there, the secret changes."""
    bot = await Rotating.begun(tokens=[{"name": "default", "lifetime": "1h"}])
    bot.operator.provider.realm.secret_policy = None
    before = bot.mounted()
    if asked == "by the spec":
        bot.want(secretRotation={"every": "5m", "overlap": "2m"}, tokens=[{"name": "default", "lifetime": "1h"}])
    else:
        bot.annotate(rotate="secret-1")
    await bot.operator.advance(600)
    assert bot.ready() == ("False", "OverlapImpossible")
    assert bot.ready(ConditionType.KEYCLOAK_SYNCED) == ("False", "OverlapImpossible")
    assert bot.mounted() == before
    calls = len(bot.operator.provider.calls)
    await bot.operator.advance(600)
    assert len(bot.operator.provider.calls) - calls < 100, "it asks all the time"
    bot.operator.provider.realm.secret_policy = POLICY
    await bot.operator.advance(65)  # the Federation looks every minute, for all that wait
    assert bot.ready() == ("True", "Ready")
    assert bot.mounted() != before
    assert await bot.accepted(before)


async def test_an_interruption_is_taken_only_where_the_spec_allows_it() -> None:
    """Without a policy and with `allowInterruption` the secret changes at once, and the former is refused."""
    bot = await Rotating.begun(tokens=_TOKEN)
    bot.operator.provider.realm.secret_policy = None
    before = bot.mounted()
    bot.want(secretRotation={"every": "1h", "overlap": "5m", "allowInterruption": True}, tokens=_TOKEN)
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(10)
    assert bot.mounted() != before
    assert not await bot.accepted(before)
    await bot.assert_consumers_get_in()
    assert bot.ready() == ("True", "Ready")
    assert bot.ready(ConditionType.KEYCLOAK_SYNCED) == ("True", "OverlapImpossible")


async def test_a_policy_that_ends_secrets_too_early_is_no_overlap() -> None:
    """The message names the policy, its period and the one asked for."""
    bot = await Rotating.begun(tokens=_TOKEN)
    policy = bot.operator.provider.realm.secret_policy
    assert policy is not None
    bot.want(secretRotation={"every": "9000h", "overlap": "9000h"}, tokens=_TOKEN)
    await bot.operator.settle()
    assert bot.ready() == ("False", "OverlapImpossible")
    ready = next(one for one in bot.status["conditions"] if one["type"] == "Ready")
    assert policy.name in ready["message"]
    assert "8760h" in ready["message"]


async def test_consumers_that_lag_hold_up_the_end_but_not_for_ever() -> None:
    """The former secret stays while a mounted Secret has it, at most another overlap."""
    bot = await Rotating.begun(secretRotation={"overlap": "10m"}, tokens=_TOKEN)
    stuck = BackendUnavailableError("stuck", backend="kubernetes")
    bot.operator.cluster.failures.add("replace_secret", stuck, times=None)
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(900)
    first = bot.mounted()
    assert first != bot.vault()["client_secret"]
    assert await bot.accepted(first), "the time is over, and it is still mounted"
    await bot.operator.advance(600)
    assert not await bot.accepted(first), "a tenant cannot hold it up for ever"
    bot.operator.cluster.failures.clear()
    await bot.operator.look()
    await bot.assert_consumers_get_in()


@pytest.mark.parametrize("late", [0, 420, 590, 640])
async def test_pods_that_get_it_late_have_both_as_long_as_their_files_take(late: int) -> None:
    """Also where the next secret comes when the end of the former was held up for them as long as it may be."""
    bot = await Rotating.begun(secretRotation={"overlap": "5m"}, tokens=_TOKEN)
    first = bot.mounted()
    bot.operator.cluster.failures.add(
        "replace_secret", BackendUnavailableError("stuck", backend="kubernetes"), times=None
    )
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(late)
    given_up = not await bot.accepted(first)
    assert given_up == (late > 600)
    bot.operator.cluster.failures.clear()
    waited = 0
    while bot.mounted() == first:
        await bot.operator.advance(1)
        waited += 1
    if not given_up:
        left = max(120, 300 - late - waited)
        await bot.operator.advance(left - 5)
        assert await bot.accepted(first), "a file may still hold it"
        await bot.operator.advance(15)
    assert not await bot.accepted(first), "and no longer"
    await bot.assert_consumers_get_in()


async def test_pods_that_get_it_after_all_patience_have_both_as_long_as_their_files_take() -> None:
    """Where the former was given up and could not be ended, nobody loses by it that it still is there."""
    bot = await Rotating.begun(secretRotation={"overlap": "5m"}, tokens=_TOKEN)
    first = bot.mounted()
    for fake, call, backend in (
        (bot.operator.cluster, "replace_secret", "kubernetes"),
        (bot.operator.provider, "end_previous_secret", "keycloak"),
    ):
        fake.failures.add(call, BackendUnavailableError("away", backend=backend), times=None)
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(1500)
    assert bot.mounted() == first
    bot.operator.cluster.failures.clear()
    while bot.mounted() == first:
        await bot.operator.advance(1)
    bot.operator.provider.failures.clear()
    await bot.operator.look()
    await bot.operator.advance(100)
    assert await bot.accepted(first), "a file may still hold it"
    await bot.operator.advance(40)
    assert not await bot.accepted(first), "and no longer"


async def test_who_mounts_the_bot_anew_holds_up_no_end() -> None:
    """A tenant who makes PodIdentities one after the other does not keep a former secret good."""
    bot = await Rotating.begun(secretRotation={"overlap": "5m"}, tokens=_TOKEN)
    first = bot.mounted()
    spec = bot.operator.cluster.bodies[ObjectKey(POD_IDENTITY, NAMESPACE, "trainer")]["spec"]
    bot.annotate(rotate="secret-1")
    for number in range(11):
        await bot.operator.advance(30)
        bot.operator.cluster.apply(POD_IDENTITY, NAMESPACE, f"more-{number}", spec)
    assert not await bot.accepted(first)


async def test_an_overlap_that_is_short_is_not_made_longer_by_those_who_got_it_in_time() -> None:
    """Its half is enough for them, whatever a file takes: the spec says how long."""
    bot = await Rotating.begun(secretRotation={"overlap": "20s"}, tokens=_TOKEN)
    first = bot.mounted()
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(15)
    assert await bot.accepted(first)
    await bot.operator.advance(10)
    assert not await bot.accepted(first)


async def test_a_bot_made_with_the_annotation_is_not_replaced_at_once() -> None:
    """What is made while a request stands carries it out."""
    bot = Rotating()
    bot.want(tokens=_TOKEN)
    bot.annotate(rotate="all-1")
    await bot.operator.advance(30)
    assert (bot.status["secret"]["version"], bot.status["tokens"][0]["version"]) == (1, 1)


async def test_an_outage_in_the_middle_does_not_eat_the_overlap() -> None:
    """The former secret stays for the overlap from when there is a new one to read, not from when it was kept."""
    bot = await Rotating.begun(secretRotation={"overlap": "5m"}, tokens=_TOKEN)
    first = bot.mounted()
    away = BackendUnavailableError("away", backend="keycloak")
    bot.operator.provider.failures.add("update_client", away, times=None)
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(7200)
    assert bot.client.previous_secret is not None
    assert bot.mounted() == first
    await bot.assert_consumers_get_in()
    bot.operator.provider.failures.clear()
    bot.operator.restart()
    await bot.operator.advance(120)
    assert bot.mounted() != first
    await bot.operator.look()
    assert await bot.accepted(first)
    await bot.operator.advance(300)
    assert not await bot.accepted(first)


async def test_a_status_that_lost_the_end_of_the_overlap_is_mended() -> None:
    """Nothing else tells when the former secret is to go but Keycloak: it is looked at."""
    bot = await Rotating.begun(secretRotation={"overlap": "5m"}, tokens=_TOKEN)
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(10)
    bot.operator.cluster.bodies[BOT]["status"]["secret"].pop("previousEndsAt")
    bot.operator.restart()
    await bot.operator.advance(700)
    assert bot.client.previous_secret is None
    assert "previous_client_secret" not in bot.vault()


async def test_both_secrets_are_presented_although_a_hand_deleted_the_client() -> None:
    """What Vault holds of an overlap is evidence too."""
    bot = await Rotating.begun(secretRotation={"overlap": "5m"}, tokens=_TOKEN)
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(10)
    bot.operator.provider.realm.delete_client(bot.client.client_uuid)
    bot.operator.cluster.delete(BOT.kind, BOT.namespace, BOT.name)
    await bot.operator.advance(30)
    (proof,) = bot.told("RevocationProven")
    assert "all 2 bot secrets are refused" in proof


async def test_a_secret_regenerated_in_the_console_is_a_rotation_that_nobody_notices() -> None:
    """What the console made is known there: it is replaced, and the one that consumers have stays for the overlap."""
    bot = await Rotating.begun(secretRotation=HOURLY, tokens=_TOKEN)
    before = bot.mounted()
    bot.operator.provider.realm.regenerate_secret(bot.client.client_uuid)
    regenerated = bot.client.secret
    assert regenerated is not None
    await bot.operator.look()
    assert await bot.accepted(before)
    assert not await bot.accepted(regenerated.reveal())
    await bot.assert_consumers_get_in()
    assert bot.mounted() != before
    (message,) = bot.told("DriftRepaired")
    assert "secret" in message


async def test_revoke_now_ends_everything_at_once_and_makes_it_anew() -> None:
    """Also in the midst of an overlap: both secrets and the token are dead; a restart repeats nothing."""
    bot = await Rotating.begun(secretRotation=HOURLY, tokens=_TOKEN)
    first = bot.mounted()
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(10)
    second, token = bot.mounted(), bot.vault("tokens/default")["token"]
    assert await bot.accepted(first)
    bot.annotate(rotate="secret-1", revoke_now="leak")
    await bot.operator.advance(10)
    assert bot.ready() == ("True", "Ready")
    assert not await bot.accepted(first)
    assert not await bot.accepted(second)
    assert token not in bot.vault("tokens/default").values()
    await bot.assert_consumers_get_in()
    (proof,) = bot.told("RevocationProven")
    assert "all 2 bot secrets are refused" in proof
    third = bot.mounted()
    bot.operator.restart()
    await bot.operator.advance(60)
    assert bot.mounted() == third
    assert bot.status["revokedNow"] == "leak"


@pytest.mark.parametrize("value", ["secret-1", "all-1"])
async def test_wherever_a_rotation_is_cut_off_consumers_get_in(value: str) -> None:
    """After each single effect: what is mounted works at every moment, and at the end one secret is good."""
    effects, cut = 0, True
    while cut:
        effects += 1
        bot = await Rotating.begun(secretRotation={"overlap": "30s"}, tokens=_TOKEN)
        first = bot.mounted()
        bot.annotate(rotate=value)
        cut = await dies(bot.operator, effects)
        await bot.assert_consumers_get_in()
        await bot.operator.advance(120)
        await bot.assert_consumers_get_in()
        assert bot.ready() == ("True", "Ready"), effects
        assert bot.mounted() == bot.vault()["client_secret"]
        assert not await bot.accepted(first), effects
        assert bot.client.previous_secret is None, effects
        assert "previous_client_secret" not in bot.vault(), effects
        assert bot.status["secret"]["rotatedFor"] == value
        assert bot.told("DriftRepaired") == [], effects
    assert effects > 5, "it was cut off in a few places only"


async def test_the_end_of_the_former_secret_is_told_once() -> None:
    """Keycloak's clock is known within a second: when it kept the former secret shows at the next look only."""
    bot = await Rotating.begun(tokens=_TOKEN, secretRotation={"overlap": "5m"})
    known = bot.operator.provider.server_now
    bot.operator.provider.server_now = lambda: known() - timedelta(seconds=1)  # type: ignore[method-assign]
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(10)
    told, writes = bot.status["secret"]["previousEndsAt"], len(bot.operator.writes())

    await bot.operator.look()

    assert bot.status["secret"]["previousEndsAt"] == told
    assert len(bot.operator.writes()) == writes


async def test_a_token_that_was_minted_while_a_hand_had_added_a_role_ends_with_the_role() -> None:
    """Not only at its renewal, hours later, and then under the hands of those who present it."""
    bot = await Rotating.begun(tokens=[{"name": "default", "lifetime": "1h"}])
    provider, realm = bot.operator.provider, bot.operator.provider.realm
    realm.add_role("fl-by-hand")
    account, mint = str(realm.account_of(bot.client.client_uuid).record.user_id), provider.mint

    async def mint_while_a_hand_is_at_it(*asked: Any) -> MintedToken | None:
        realm.map_role(account, "fl-by-hand")
        return await mint(*asked)

    provider.mint = mint_while_a_hand_is_at_it  # type: ignore[method-assign]
    bot.annotate(rotate="token-1")
    await bot.operator.settle()
    provider.mint = mint  # type: ignore[method-assign]
    wide = bot.vault("tokens/default")["token"]
    assert "fl-by-hand" in realm.tokens[wide].realm_roles

    await bot.operator.look()

    assert not realm.accepts(Sensitive(wide))
    token = bot.vault("tokens/default")["token"]
    assert realm.accepts(Sensitive(token))
    assert "fl-by-hand" not in realm.tokens[token].realm_roles
