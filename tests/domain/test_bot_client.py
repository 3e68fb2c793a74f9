"""Tests of the client that a bot becomes, and of what differs from it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given

from fedid.domain.bot import DesiredBot
from fedid.domain.bot_record import client_differences, corrected, desired_client
from fedid.domain.realm import ClientRecord, ProtocolMapper
from fedid.domain.sensitive import Sensitive
from tests.domain.bots import BOTS
from tests.domain.samples import OWNER, desired

CLIENT = desired_client(desired(), secret=Sensitive("hush"), not_before=5)
(MAPPER,) = CLIENT.mappers


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
