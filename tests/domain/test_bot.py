"""Tests of what a BotClient becomes: client, entries in Vault, asks, and when a token is renewed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.bot import DesiredBot, DesiredToken, asks_of_bot, client_entry, desired_bot, suspension_of
from fedid.domain.bot_record import client_differences, corrected, desired_client
from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.grants import Ask, AskKind
from fedid.domain.judgement import Verdict
from fedid.domain.realm import ClientRecord, ProtocolMapper
from fedid.domain.resources import parse_bot_client, parse_federation
from fedid.domain.rotation import renewal_due_at
from fedid.domain.sensitive import Sensitive
from fedid.domain.token_entries import token_entry
from fedid.domain.tokens import MintedToken
from tests.domain.samples import BOT, ISSUER, NOW, OWNER, body, claims, desired

FEDERATION = parse_federation(body("Federation"))
CLIENT = desired_client(desired(), secret=Sensitive("hush"), not_before=5)
(MAPPER,) = CLIENT.mappers
NAMES = st.frozensets(st.text(max_size=3), max_size=3)
BOTS = st.builds(
    lambda roles, client_roles, audiences, seconds: desired(
        realm_roles=roles,
        client_roles={client: names for client, names in client_roles.items() if names},
        audiences=audiences,
        lifetime=timedelta(seconds=seconds),
    ),
    NAMES,
    st.dictionaries(st.text(max_size=3), NAMES, max_size=3),
    NAMES,
    st.integers(10, 86400),
)


def verdict(*denied: Ask, limit: timedelta | None = None) -> Verdict:
    """Return what grants might say of the trainer."""
    return Verdict(namespace_matched=True, denied=frozenset(denied), max_token_lifetime=limit, message="")


def bot(spec: dict[str, Any], said: Verdict | None = None) -> DesiredBot:
    """Return what a spec becomes under the sample Federation."""
    return desired_bot(parse_bot_client(body("BotClient", spec)), FEDERATION, said or verdict(), owner=OWNER)


AT_NOON = rfc3339(NOW)


@pytest.mark.parametrize(
    ("spec", "after", "reason"),
    [
        pytest.param({}, 0, None, id="neither is said"),
        pytest.param({"suspend": False}, 0, None, id="suspend: false"),
        pytest.param({"suspend": True}, 0, Reason.SUSPENDED, id="suspended"),
        pytest.param({"expiresAt": AT_NOON}, -1, None, id="a microsecond before the instant"),
        pytest.param({"expiresAt": AT_NOON}, 0, Reason.EXPIRED, id="the very instant"),
        pytest.param({"expiresAt": AT_NOON}, 1, Reason.EXPIRED, id="a microsecond after it"),
        pytest.param({"suspend": True, "expiresAt": AT_NOON}, -1, Reason.SUSPENDED, id="suspended, and to expire"),
        pytest.param({"suspend": True, "expiresAt": AT_NOON}, 1, Reason.SUSPENDED, id="suspended, and expired since"),
    ],
)
def test_a_bot_is_not_wanted_while_suspended_and_from_its_instant_on(
    spec: dict[str, Any], after: int, reason: Reason | None
) -> None:
    """The message names the field, what it says, and how to get the bot back."""
    found = suspension_of(parse_bot_client(body("BotClient", spec)), NOW + timedelta(microseconds=after))
    assert (found.reason if found is not None else None) is reason
    if found is not None:
        field = "spec.suspend is true" if reason is Reason.SUSPENDED else f"spec.expiresAt was {AT_NOON}"
        assert found.message.startswith(f"{field}, so nothing of this bot exists outside the cluster; set ")


def test_the_bot_of_the_design_becomes_a_definite_client() -> None:
    """The example of design.md, granted in full, is the sample that the other tests start from."""
    assert bot({**BOT, "clientRoles": {"superlink": ["submit"]}}) == desired()


def test_what_is_denied_is_left_out() -> None:
    """Roles and audiences that no grant covers never become part of what is made."""
    spec = {
        "realmRoles": ["fl-client", "admin"],
        "clientRoles": {"superlink": ["submit", "run"], "realm-management": ["manage-users"]},
        "audiences": ["superlink", "bank"],
    }
    wanted = bot(
        spec,
        verdict(
            Ask(AskKind.REALM_ROLE, "admin"),
            Ask(AskKind.CLIENT_ROLE, "run", "superlink"),
            Ask(AskKind.CLIENT_ROLE, "manage-users", "realm-management"),
            Ask(AskKind.AUDIENCE, "bank"),
        ),
    )
    assert wanted.realm_roles == {"fl-client"}
    assert wanted.client_roles == {"superlink": {"submit"}}
    assert wanted.audiences == {"superlink"}


def test_a_denial_is_of_one_kind_and_one_client() -> None:
    """A denied role does not take an audience, or the same role of another client, with it."""
    spec = {"realmRoles": ["x"], "clientRoles": {"one": ["x"], "two": ["x"]}, "audiences": ["x"]}
    wanted = bot(spec, verdict(Ask(AskKind.CLIENT_ROLE, "x", "one")))
    assert wanted.realm_roles == wanted.audiences == {"x"}
    assert wanted.client_roles == {"two": {"x"}}


@pytest.mark.parametrize(
    ("tokens", "limit", "lifetime"),
    [
        pytest.param([], None, "10m", id="no token: the Federation's default"),
        pytest.param([{"name": "a"}], None, "10m", id="no lifetime: the Federation's default"),
        pytest.param([{"name": "a", "lifetime": "30m"}], None, "30m", id="what is asked for"),
        pytest.param(
            [{"name": "a", "lifetime": "30m"}, {"name": "b", "lifetime": "5m"}],
            None,
            "5m",
            id="the shorter of two, since Keycloak's is one per client",
        ),
        pytest.param([{"name": "a", "lifetime": "30m"}, {"name": "b"}], None, "30m", id="one says, the other follows"),
        pytest.param([{"name": "a", "lifetime": "30m"}], timedelta(minutes=3), "3m", id="a limit cuts it"),
        pytest.param([{"name": "a", "lifetime": "2m"}], timedelta(minutes=3), "2m", id="a limit lengthens nothing"),
        pytest.param([], timedelta(minutes=3), "3m", id="a limit cuts the default too"),
    ],
)
def test_one_lifetime_within_the_limit(tokens: list[dict[str, Any]], limit: timedelta | None, lifetime: str) -> None:
    """All tokens of a bot share one lifetime, never longer than the grants let it be."""
    minutes = timedelta(minutes=int(lifetime.removesuffix("m")))
    wanted = bot({"tokens": tokens}, verdict(limit=limit))
    assert wanted.lifetime == minutes
    assert wanted.lifetime_limit == limit
    assert wanted.token_names == tuple(token["name"] for token in tokens)
    assert desired_client(wanted, secret=None).attributes["access.token.lifespan"] == str(minutes.seconds)


def test_a_bot_asks_for_everything_it_names() -> None:
    """Each role, audience and own clientId is one ask; the lifetime is bounded and not asked."""
    spec = {
        "clientId": "partner",
        "realmRoles": ["a", "b"],
        "clientRoles": {"one": ["x", "y"], "two": ["x"]},
        "audiences": ["s"],
        "tokens": [{"name": "t", "lifetime": "24h"}],
    }
    assert asks_of_bot(parse_bot_client(body("BotClient", spec)), FEDERATION) == {
        Ask(AskKind.CLIENT_ID, "partner"),
        Ask(AskKind.REALM_ROLE, "a"),
        Ask(AskKind.REALM_ROLE, "b"),
        Ask(AskKind.CLIENT_ROLE, "x", "one"),
        Ask(AskKind.CLIENT_ROLE, "y", "one"),
        Ask(AskKind.CLIENT_ROLE, "x", "two"),
        Ask(AskKind.AUDIENCE, "s"),
    }


def test_the_default_client_id_is_not_asked_for() -> None:
    """A bot under its default clientId, written out or not, needs no grant for it."""
    assert asks_of_bot(parse_bot_client(body("BotClient", {})), FEDERATION) == set()
    assert asks_of_bot(parse_bot_client(body("BotClient", {"clientId": "site-a.trainer"})), FEDERATION) == set()


def test_the_client_is_confidential_and_has_no_browser_flow() -> None:
    """A bot's client lets nobody log in, has a service account, and lives by the asked lifetime."""
    assert (
        ClientRecord(
            client_uuid=desired().client_uuid,
            client_id="site-a.trainer",
            owner=OWNER,
            object_name="BotClient/site-a/trainer",
            description="",
            enabled=True,
            secret=Sensitive("hush"),
            flags={
                "publicClient": False,
                "bearerOnly": False,
                "standardFlowEnabled": False,
                "implicitFlowEnabled": False,
                "directAccessGrantsEnabled": False,
                "serviceAccountsEnabled": True,
                "consentRequired": False,
                "authorizationServicesEnabled": False,
                "fullScopeAllowed": True,
            },
            attributes={
                "access.token.lifespan": "600",
                "client_credentials.use_refresh_token": "false",
                "oauth2.device.authorization.grant.enabled": "false",
                "oidc.ciba.grant.enabled": "false",
                "fedid.secret-rotation": "true",
            },
            mappers=(
                ProtocolMapper(
                    "audience superlink",
                    "oidc-audience-mapper",
                    {
                        "included.custom.audience": "superlink",
                        "access.token.claim": "true",
                        "introspection.token.claim": "true",
                    },
                ),
            ),
            authenticator="client-secret",
            not_before=5,
        )
        == CLIENT
    )
    assert "hush" not in repr(CLIENT)


def test_every_audience_has_its_mapper() -> None:
    """Each audience becomes one mapper, in an order that does not depend on chance."""
    mappers = desired_client(desired(audiences=frozenset({"b", "c", "a"})), secret=None).mappers
    assert [mapper.name for mapper in mappers] == ["audience a", "audience b", "audience c"]
    assert [mapper.config["included.custom.audience"] for mapper in mappers] == ["a", "b", "c"]


@given(BOTS)
def test_a_client_as_desired_differs_in_nothing(wanted: DesiredBot) -> None:
    """Whatever a bot asks for, the client that is made of it is found to be right."""
    made = desired_client(wanted, secret=Sensitive("hush"), not_before=7)
    assert client_differences(desired_client(wanted, secret=None), made) == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"client_id": "other"}, ("clientId",), id="the clientId"),
        pytest.param({"description": "x"}, ("description",), id="the description"),
        pytest.param({"enabled": False}, ("enabled",), id="disabled by hand"),
        pytest.param({"authenticator": "client-jwt"}, ("clientAuthenticatorType",), id="another authenticator"),
        pytest.param({"object_name": None}, ("attributes[fedid.object]",), id="the name of the object"),
        pytest.param({"mappers": ()}, ("protocolMappers",), id="a mapper removed"),
        pytest.param(
            {"mappers": (*CLIENT.mappers, ProtocolMapper("x", "oidc-hardcoded-claim-mapper", {"claim.value": "1"}))},
            ("protocolMappers",),
            id="a mapper added",
        ),
        pytest.param(
            {"mappers": (replace(MAPPER, type="oidc-usermodel-attribute-mapper"),)},
            ("protocolMappers",),
            id="a mapper of another type",
        ),
        pytest.param({"mappers": (replace(MAPPER, name="renamed"),)}, ("protocolMappers",), id="a mapper renamed"),
        pytest.param(
            {"mappers": (replace(MAPPER, config={**CLIENT.mappers[0].config, "access.token.claim": "false"}),)},
            ("protocolMappers",),
            id="a mapper switched off",
        ),
        pytest.param({"secret": Sensitive("other")}, (), id="the secret is compared elsewhere"),
        pytest.param({"secret": None}, (), id="a secret that was not read"),
        pytest.param({"not_before": 99}, (), id="notBefore never goes back"),
        pytest.param({"flags": {**CLIENT.flags, "frontchannelLogout": True}}, (), id="a flag that we do not set"),
        pytest.param({"attributes": {**CLIENT.attributes, "x": "y"}}, ("attributes[x]",), id="an attribute added"),
        pytest.param(
            {
                "attributes": {
                    **CLIENT.attributes,
                    "realm_client": "false",
                    "client.secret.creation.time": "1",
                    "backchannel.logout.session.required": "true",
                }
            },
            (),
            id="attributes that Keycloak sets by itself",
        ),
        pytest.param({"uris": {"redirectUris": ("https://x/*",)}}, ("redirectUris",), id="an address added"),
        pytest.param(
            {"uris": {"webOrigins": ("+",), "rootUrl": ("https://x",), "redirectUris": ()}},
            ("rootUrl", "webOrigins"),
            id="several addresses added, and a list that is empty",
        ),
        pytest.param({"enabled": False, "description": "x"}, ("description", "enabled"), id="several at once"),
    ],
)
def test_each_change_of_a_client_is_named(changes: dict[str, Any], named: tuple[str, ...]) -> None:
    """Exactly the fields that were changed by hand are named, by Keycloak's names."""
    assert client_differences(desired_client(desired(), secret=None), replace(CLIENT, **changes)) == named


@pytest.mark.parametrize("flag", sorted(CLIENT.flags))
def test_each_flag_of_a_client_is_named(flag: str) -> None:
    """A switch that was turned is named, and one that Keycloak does not tell counts as off."""
    wanted = desired_client(desired(), secret=None)
    turned = replace(CLIENT, flags={**CLIENT.flags, flag: not CLIENT.flags[flag]})
    assert client_differences(wanted, turned) == (flag,)
    untold = replace(CLIENT, flags={name: value for name, value in CLIENT.flags.items() if name != flag})
    assert client_differences(wanted, untold) == ((flag,) if wanted.flags[flag] else ())


@pytest.mark.parametrize("name", sorted(CLIENT.attributes))
def test_each_attribute_of_a_client_is_named(name: str) -> None:
    """An attribute of ours that has another value, or none, is named."""
    wanted = desired_client(desired(), secret=None)
    changed = replace(CLIENT, attributes={**CLIENT.attributes, name: "other"})
    assert client_differences(wanted, changed) == (f"attributes[{name}]",)
    gone = replace(CLIENT, attributes={key: value for key, value in CLIENT.attributes.items() if key != name})
    assert client_differences(wanted, gone) == (f"attributes[{name}]",)


def test_every_field_of_a_client_is_compared_or_left_alone_on_purpose() -> None:
    """A field that is added to the record must be compared, or be listed here with its reason."""
    compared = {"client_id", "object_name", "description", "enabled", "authenticator"}
    compared |= {"flags", "attributes", "mappers", "uris"}
    elsewhere = {
        "client_uuid",  # what it was read by
        "owner",  # decides before anything is compared
        "secret",  # by the plan, against what lies in Vault
        "previous_secret",  # likewise; Keycloak alone sets it
        "previous_since",
        "not_before",  # by the plan, against each token; it never goes back
        "default_scopes",  # by `scope_changes`, against what the realm has
        "optional_scopes",  # likewise
    }
    assert {field.name for field in fields(ClientRecord)} == compared | elsewhere


def test_what_is_written_over_a_client_takes_off_what_was_added() -> None:
    """What was added by hand is written as empty, which takes it off; the rest is what is desired, and the mark."""
    wanted = desired_client(desired(), secret=None)
    added = {"x": "y", "realm_client": "false", "access.token.lifespan": "1"}
    observed = replace(CLIENT, attributes={**CLIENT.attributes, **added}, uris={"redirectUris": ("https://x/*",)})
    assert corrected(wanted, observed) == replace(
        wanted, attributes={**wanted.attributes, "x": ""}, uris={"redirectUris": ()}
    )
    assert corrected(wanted, CLIENT) == wanted


def test_what_keycloak_adds_to_a_mapper_is_no_difference() -> None:
    """A switch that Keycloak tells as `false` or empty is one that was never set, and the order means nothing."""
    wanted = desired_client(desired(audiences=frozenset({"a", "b"})), secret=None)
    told = tuple(
        replace(mapper, config={**mapper.config, "id.token.claim": "false", "included.client.audience": ""})
        for mapper in reversed(wanted.mappers)
    )
    assert client_differences(wanted, replace(wanted, mappers=told)) == ()


def test_the_entry_of_the_secret_is_what_the_design_says() -> None:
    """Vault holds client id, secret, issuer and token URL."""
    entry = client_entry(desired(), Sensitive("hush"))
    assert {key: value.reveal() for key, value in entry.items()} == {
        "client_id": "site-a.trainer",
        "client_secret": "hush",
        "issuer": ISSUER,
        "token_url": f"{ISSUER}/protocol/openid-connect/token",
    }
    assert "hush" not in repr(entry)


def test_the_entry_of_a_token_is_what_the_design_says() -> None:
    """Vault holds token, type and both instants in RFC 3339."""
    entry = token_entry(MintedToken(Sensitive("hush"), claims(desired())))
    assert {key: value.reveal() for key, value in entry.items()} == {
        "token": "hush",
        "token_type": "Bearer",
        "issued_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-03-01T12:10:00Z",
    }
    assert "hush" not in repr(entry)


def _hash(wanted: DesiredBot) -> str:
    return wanted.ask_hash(DesiredToken("any"))


def _asked(wanted: DesiredBot) -> tuple[object, ...]:
    return (wanted.realm_roles, dict(wanted.client_roles), wanted.audiences, wanted.lifetime)


@given(BOTS, BOTS)
def test_the_ask_hash_changes_if_and_only_if_the_asks_do(one: DesiredBot, other: DesiredBot) -> None:
    """Two bots have the same hash exactly if their tokens are asked to say the same."""
    assert (_hash(one) == _hash(other)) == (_asked(one) == _asked(other))
    assert len(_hash(one)) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            {"realm_roles": frozenset({"a", "b"})},
            {"realm_roles": frozenset({"a\nrole b"})},
            id="a line break within a role",
        ),
        pytest.param(
            {"client_roles": {"a b": frozenset({"c"})}},
            {"client_roles": {"a": frozenset({"b c"})}},
            id="a blank within a client id",
        ),
        pytest.param(
            {"realm_roles": frozenset({"a"}), "audiences": frozenset()},
            {"realm_roles": frozenset(), "audiences": frozenset({"a"})},
            id="a role and an audience of one name",
        ),
    ],
)
def test_no_two_asks_share_a_hash_by_their_spelling(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Names cannot be chosen so that two different sets of asks look alike."""
    assert _hash(desired(**one)) != _hash(desired(**other))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"description": "x"}, id="the description"),
        pytest.param({"tokens": ("a", "b")}, id="the names of the tokens"),
        pytest.param({"client_id": "other"}, id="the clientId, which the azp tells"),
        pytest.param({"owner": "other"}, id="the owner mark"),
    ],
)
def test_what_no_token_says_is_not_in_the_hash(change: dict[str, Any]) -> None:
    """A change that no token tells mints none."""
    assert _hash(desired(**change)) == _hash(desired())


def test_the_ask_hash_is_the_same_in_every_process() -> None:
    """The hash that a status remembers means the same after a restart and after an upgrade."""
    wanted = desired(realm_roles=frozenset("abc"), audiences=frozenset("xyz"))
    assert _hash(wanted) == "453b40c75110e9c9"


def test_the_expectation_is_what_the_bot_asks_for() -> None:
    """What a token must say is what the granted spec says."""
    wanted, expectation = desired(), desired().expectation()
    assert expectation.client_id == wanted.client_id
    assert (expectation.realm_roles, expectation.client_roles) == (wanted.realm_roles, wanted.client_roles)
    assert (expectation.audiences, expectation.lifetime) == (wanted.audiences, wanted.lifetime)


LIVES = st.integers(10, 86400 * 30).map(lambda seconds: timedelta(seconds=seconds))
UIDS = st.one_of(st.uuids().map(str), st.text())


@given(LIVES, UIDS, st.one_of(st.none(), LIVES))
def test_a_renewal_is_due_in_time(life: timedelta, uid: str, renew_before: timedelta | None) -> None:
    """Every token is renewed at the latest a third of its life, or `renewBefore`, before its end; never at once."""
    due = renewal_due_at(NOW, NOW + life, uid, renew_before)
    rounding = timedelta(milliseconds=1)
    latest = life * 2 / 3 if renew_before is None else life - min(renew_before, life * 0.9)
    assert NOW + 0.09 * latest < due + rounding
    assert due <= NOW + latest + rounding
    assert due == renewal_due_at(NOW, NOW + life, uid, renew_before)


def _uids(count: int) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_OID, str(i))) for i in range(count)]


def test_bots_that_were_applied_together_are_renewed_evenly_from_the_first_time_on() -> None:
    """Of a thousand bots of one instant each tenth of the period renews about a tenth, in every period."""
    life = timedelta(hours=1)
    period = life * (2 / 3) / 1.1
    uids = _uids(1000)
    issued = dict.fromkeys(uids, NOW)
    for beat in range(4):
        start = NOW + period * (0.1 + beat)
        tenths = [0] * 10
        for uid in uids:
            due = renewal_due_at(issued[uid], issued[uid] + life, uid)
            tenths[int((due - start) / period * 10) % 10] += 1
            issued[uid] = due + timedelta(seconds=1)
        assert all(60 < count < 140 for count in tenths), (beat, tenths)


@given(UIDS, st.integers(0, 5000))
def test_a_token_renewed_at_its_beat_lives_for_a_whole_period(uid: str, late_milliseconds: int) -> None:
    """Renewals neither come twice for one beat, however the instants are rounded, nor drift away from it."""
    life = timedelta(minutes=10)
    period = life * (2 / 3) / 1.1
    first = renewal_due_at(NOW, NOW + life, uid)
    issued = first + timedelta(milliseconds=late_milliseconds - 1000)
    assert abs(renewal_due_at(issued, issued + life, uid) - (first + period)) < timedelta(milliseconds=1)


MUTATIONS: list[Callable[[DesiredBot], DesiredBot]] = [
    lambda wanted: replace(wanted, realm_roles=wanted.realm_roles | {"more"}),
    lambda wanted: replace(wanted, audiences=wanted.audiences | {"more"}),
    lambda wanted: replace(wanted, client_roles={**wanted.client_roles, "more": frozenset({"x"})}),
    lambda wanted: replace(wanted, lifetime=wanted.lifetime + timedelta(seconds=1)),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=["realm role", "audience", "client role", "lifetime"])
@given(wanted=BOTS)
def test_one_more_ask_is_another_hash(mutation: Callable[[DesiredBot], DesiredBot], wanted: DesiredBot) -> None:
    """Each kind of ask is part of the hash."""
    assert _hash(mutation(wanted)) != _hash(wanted)


def test_every_claim_has_its_mapper() -> None:
    """In the access token and the introspection, as a text, and nowhere else."""
    mappers = desired_client(desired(audiences=frozenset(), claims={"tier": "2", "site": "a"}), secret=None).mappers
    assert [(m.name, m.type) for m in mappers] == [
        ("claim site", "oidc-hardcoded-claim-mapper"),
        ("claim tier", "oidc-hardcoded-claim-mapper"),
    ]
    assert dict(mappers[0].config) == {
        "claim.name": "site",
        "claim.value": "a",
        "jsonType.label": "String",
        "access.token.claim": "true",
        "introspection.token.claim": "true",
    }


def test_the_value_of_a_claim_is_compared_to_the_letter() -> None:
    """The text `false` is no switch that is off, and an empty one is not it."""
    wanted = desired_client(desired(claims={"site": "false"}), secret=None)
    (*others, claim) = wanted.mappers
    emptied = replace(claim, config={**claim.config, "claim.value": ""})
    assert client_differences(wanted, wanted) == ()
    assert client_differences(wanted, replace(wanted, mappers=(*others, emptied))) == ("protocolMappers",)


def test_a_claim_is_asked_for_by_name_and_minted_for_by_value() -> None:
    """Another value is another token; a bot without claims has the hash that it had before there were any."""
    asked = asks_of_bot(parse_bot_client(body("BotClient", {"claims": {"site": "a"}})), FEDERATION)
    assert Ask(AskKind.CLAIM, "site") in asked
    hashes = {_hash(desired(claims=claims)) for claims in ({}, {"site": "a"}, {"site": "b"}, {"a": "site"})}
    assert len(hashes) == 4
    assert _hash(desired(claims={})) == _hash(desired())
