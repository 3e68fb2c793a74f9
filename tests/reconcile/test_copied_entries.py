"""What a person laid into Vault is mounted where everybody agrees, and nowhere else; on the fakes."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from fedid.domain.stored import VaultMark
from tests.fakes.secret_store import FakeSecretStore
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_receipts import receipts

PLACE = "bitfount/site-a"
ENTRY = {"api_key_id": "b7a1", "api_key": "core:am", "namespaces": f"site-b, {NAMESPACE}"}
MOUNTED = {"BITFOUNT_API_KEY_ID": "b7a1", "BITFOUNT_API_KEY": "core:am", "BITFOUNT_USERNAME": "ana"}
EMPTY = dict.fromkeys(MOUNTED, "")
SOURCE = {"vaultPath": PLACE}
POD = ObjectKey(POD_IDENTITY, NAMESPACE, "hospital")


class Copying:
    """The operator, a bot, and a PodIdentity that copies what lies in Vault."""

    def __init__(self) -> None:
        """Start with a grant of the place, and with nothing there."""
        self.operator = SmallOperator()
        self.operator.store.mounts["platforms"] = FakeSecretStore(kv_version=1, now=self.operator.clock.now)
        self.grant("secret/bitfount/*")

    @classmethod
    async def begun(cls, **entry: str) -> Copying:
        """Return one that is Ready."""
        made = cls()
        made.lay({**ENTRY, **entry})
        await made.want()
        assert made.told(ConditionType.READY)[:2] == ("True", "Ready")
        assert made.mounted == MOUNTED
        return made

    def lay(self, data: dict[str, str], mark: VaultMark | None = None) -> None:
        """Lay it there, as a person does, or as somebody else's operator."""
        self.operator.store.put_by_hand(PLACE, data, mark)

    def grant(self, *paths: str) -> None:
        """Let the namespace copy from these places only."""
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        rule = {"namespaces": {"names": [NAMESPACE]}, "vaultPaths": list(paths)}
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": [rule]})

    async def want(self, source: dict[str, str] = SOURCE) -> None:
        """Apply bot and PodIdentity, and wait."""
        self.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": []})
        block = {"flavour": "ApiKey", "username": "ana", "credentialsFrom": source}
        spec = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": {"bitfount": block}}
        self.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "hospital", spec)
        await self.operator.advance(10)

    @property
    def mounted(self) -> dict[str, str] | None:
        """What pods see; None: there is no Secret."""
        secret = self.operator.cluster.secrets.get((NAMESPACE, "hospital"))
        return None if secret is None else {key: value.reveal() for key, value in secret.data.items()}

    def told(self, kind: ConditionType) -> tuple[str, str, str] | None:
        """Return status, reason and message of a condition."""
        found = condition_of(self.operator.status(POD_IDENTITY, "hospital").get("conditions") or (), kind)
        return (found["status"], found["reason"], found["message"]) if found is not None else None

    @property
    def ended(self) -> tuple[str, str, str]:
        """The condition that says what a person has to end."""
        found = self.told(ConditionType.REVOKED)
        assert found is not None
        return found


async def test_what_a_person_laid_there_is_mounted_and_its_id_told() -> None:
    """The status names the id that somebody has to end, and no more of it; nothing in Vault is changed."""
    copying = await Copying.begun()
    assert copying.ended[:2] == ("False", "ManualRevocationRequired")
    assert "Only a person can end api_key_id b7a1, in the Bitfount Hub" in copying.ended[2]
    assert "core:am" not in repr(copying.operator.cluster.bodies[POD])
    assert copying.operator.store.data_of(PLACE) == ENTRY


async def test_a_newer_key_comes_with_the_resync_and_both_ids_are_told() -> None:
    """While both are good pods get the newer one, and whoever ends the other knows which it is."""
    copying = await Copying.begun()
    copying.lay({**ENTRY, "api_key_id": "c8b2", "api_key": "new", "previous_api_key_id": "b7a1"})
    await copying.operator.advance(700)
    assert copying.mounted == {**MOUNTED, "BITFOUNT_API_KEY_ID": "c8b2", "BITFOUNT_API_KEY": "new"}
    assert "end api_key_id c8b2 and b7a1, in" in copying.ended[2]


@pytest.mark.parametrize(
    ("entry", "mark", "reason", "words"),
    [
        (None, None, "CredentialsMissing", f"Nothing lies at secret/{PLACE} in Vault; lay the credential there"),
        ({"api_key_id": "b7a1", "api_key": "x"}, None, "NotGranted", "is not meant for namespace site-a"),
        ({**ENTRY, "namespaces": "site-ab,*"}, None, "NotGranted", "adds the key namespaces=site-a"),
        (ENTRY, VaultMark("other/uid", "BotClient/site-b/x"), "Conflict", "belongs to other/uid"),
        (ENTRY, VaultMark("i/uid", "BotClient/site-a/x"), "Conflict", "belongs to i/uid"),
    ],
    ids=["nothing there", "no namespaces named", "other namespaces named", "another operator's", "our own"],
)
async def test_what_is_not_meant_for_it_is_not_mounted(
    entry: dict[str, str] | None, mark: VaultMark | None, reason: str, words: str
) -> None:
    """The message says who has to do what; and once it is put right, it is mounted."""
    copying = Copying()
    if entry is not None:
        copying.lay(entry, mark)
    await copying.want()
    assert copying.mounted is None
    told = copying.told(ConditionType.READY)
    assert told is not None
    assert told[:2] == ("False", reason)
    assert words in told[2]
    copying.lay(ENTRY)
    await copying.operator.advance(400)
    assert copying.mounted == MOUNTED


@pytest.mark.parametrize(
    ("granted", "source", "reason"),
    [
        ("secret/bitfount/site-b", SOURCE, "NotGranted"),
        ("secret/bitfount/*", {"vaultPath": "other/site-a"}, "NotGranted"),
        ("secret/bitfount/*", {"vaultPath": PLACE, "vaultMount": "platforms"}, "NotGranted"),
        ("secret/*", {"vaultPath": "fedid/site-a/bots/trainer/client"}, "InvalidSpec"),
        ("secret/*", {"vaultPath": "fedid"}, "InvalidSpec"),
        ("secret/*", {"vaultPath": "bitfount/../fedid/x"}, "InvalidSpec"),
        ("secret/*", {"vaultPath": "bitfount/%2e%2e"}, "InvalidSpec"),
        ("secret/*", {"vaultPath": "/bitfount"}, "InvalidSpec"),
    ],
)
async def test_nothing_is_read_where_no_grant_leads(granted: str, source: dict[str, str], reason: str) -> None:
    """Not even looked for: what lies elsewhere shows in no answer."""
    copying = Copying()
    copying.grant(granted)
    copying.lay(ENTRY)
    await copying.want(source)
    told = copying.told(ConditionType.READY)
    assert told is not None
    assert told[:2] == ("False", reason)
    assert told[2].startswith("spec.platform.bitfount.credentialsFrom leads to") or reason == "NotGranted"
    assert copying.mounted is None
    stores = (copying.operator.store, copying.operator.store.mounts["platforms"])
    assert [call for store in stores for call in store.calls if call.operation == "read_unmarked"] == []


async def test_another_mount_is_read_where_it_is_granted() -> None:
    """KV version 1 beside the Federation's own mount."""
    copying = Copying()
    copying.grant("platforms/keys/*")
    copying.operator.store.mounts["platforms"].put_by_hand("keys/a", ENTRY)
    await copying.want({"vaultPath": "keys/a", "vaultMount": "platforms"})
    assert copying.mounted == MOUNTED


@pytest.mark.parametrize("how", ["grant", "namespaces", "entry", "bot"])
async def test_what_is_not_allowed_any_more_is_taken_back_and_its_id_stays_told(how: str) -> None:
    """Every key of the Secret is empty, and the condition says what is good all the same."""
    copying = await Copying.begun()
    if how == "grant":
        copying.grant("secret/other/*")
    elif how == "namespaces":
        copying.lay({**ENTRY, "namespaces": "site-b"})
    elif how == "entry":
        del copying.operator.store.entries[PLACE]
    else:
        copying.operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await copying.operator.advance(700)
    assert copying.mounted == EMPTY
    assert copying.ended[:2] == ("False", "ManualRevocationRequired")
    assert "b7a1" in copying.ended[2]


async def test_a_deleted_one_says_what_goes_on_being_good() -> None:
    """The Event outlives the object; nothing waits for the person."""
    copying = await Copying.begun()
    copying.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "hospital")
    await copying.operator.advance(5)
    assert POD not in copying.operator.cluster.bodies
    (receipt,) = receipts(copying.operator)
    assert "provenAt" not in receipt
    assert "api_key_id b7a1" in receipt["remains"]["notes"][0]
    (event,) = [one for one in copying.operator.cluster.events if one.reason == "ManualRevocationRequired"]
    assert event.warning
    assert "Only a person can end api_key_id b7a1, in the Bitfount Hub" in event.message


async def test_an_outage_of_vault_takes_nothing_back() -> None:
    """What is mounted is good as long as nobody says otherwise."""
    copying = await Copying.begun()
    copying.operator.store.sealed = True
    await copying.operator.advance(700)
    assert copying.mounted == MOUNTED


async def test_a_restart_takes_nothing_back_and_writes_nothing() -> None:
    """Also while the labels of the namespace are not known yet."""
    copying = await Copying.begun()
    body = copying.operator.cluster.bodies[POD]
    before = body["metadata"]["resourceVersion"]
    copying.operator.restart()
    await copying.operator.advance(700)
    assert copying.mounted == MOUNTED
    assert copying.operator.cluster.bodies[POD]["metadata"]["resourceVersion"] == before


async def test_no_id_of_odd_letters_gets_into_the_status() -> None:
    """What is no id is not repeated: it may be a credential in the wrong place."""
    copying = Copying()
    copying.lay({**ENTRY, "api_key_id": "-----BEGIN PRIVATE KEY-----\nMIIE"})
    await copying.want()
    told: Any = copying.told(ConditionType.READY)
    assert told[:2] == ("False", "InvalidSpec")
    assert "MIIE" not in repr(copying.operator.cluster.bodies[POD])
