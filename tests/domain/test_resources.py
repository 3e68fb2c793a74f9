"""Tests of parsing: what the API server holds becomes values, or a sentence that names the field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.access import (
    AppRoleAuth,
    ClientCredentialsAuth,
    JwtAuth,
    KeycloakAccess,
    KeycloakAuth,
    KubernetesAuth,
    PrivateKeyJwtAuth,
    ServiceAccountTokenAuth,
    VaultAccess,
    VaultAuth,
    VaultTokenAuth,
)
from fedid.domain.approval import parse_approval
from fedid.domain.drift_settings import DriftSettings
from fedid.domain.federation_user import FederationUser, parse_federation_user
from fedid.domain.grants import parse_grants
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity, parse_pod_identity
from fedid.domain.resources import (
    FINALIZER,
    PLURALS,
    REVOCATION_RECEIPT,
    WATCHED,
    Body,
    BotClient,
    Federation,
    TokenSpec,
    meta_of,
    parse_bot_client,
    parse_federation,
)
from fedid.errors import InvalidSpecError
from fedid.platforms.table import renderer
from tests.domain.crd_objects import FILES, JSON, admitted, damaged, spec_schema
from tests.domain.samples import SPECS, UID, body, with_value, without


def parse_federation_whole(found: Body) -> tuple[Federation, object]:
    """Parse a Federation together with its grants, as the reconciler does."""
    return parse_federation(found), parse_grants(found["spec"])


def parse_pod_identity_whole(found: Body) -> PodIdentity:
    """Parse a PodIdentity together with the block of its platform, as the reconciler does."""
    parsed = parse_pod_identity(found)
    renderer(parsed.platform, parsed.options, parsed.role)
    return parsed


PARSERS: dict[str, Callable[[Body], object]] = {
    "Federation": parse_federation_whole,
    "BotClient": parse_bot_client,
    "FederationUser": parse_federation_user,
    "PodIdentity": parse_pod_identity_whole,
    "IdentityApproval": parse_approval,
}
MISTAKES = {
    kind: [st.builds(body, st.just(kind), st.one_of(admitted(schema), damaged(schema), JSON.filter(bool)))]
    for kind in PARSERS
    if (schema := spec_schema(kind))
}

MISSING = [
    ("Federation", "spec", "spec is missing"),
    ("Federation", "spec.keycloak", "spec.keycloak is missing"),
    ("Federation", "spec.keycloak.url", "spec.keycloak.url is missing"),
    ("Federation", "spec.keycloak.realm", "spec.keycloak.realm is missing"),
    ("Federation", "spec.keycloak.auth", "spec.keycloak.auth needs clientCredentials"),
    ("Federation", "spec.keycloak.auth.clientCredentials", "spec.keycloak.auth needs clientCredentials"),
    (
        "Federation",
        "spec.keycloak.auth.clientCredentials.secretName",
        "spec.keycloak.auth.clientCredentials.secretName is missing",
    ),
    ("Federation", "spec.vault", "spec.vault is missing"),
    ("Federation", "spec.vault.url", "spec.vault.url is missing"),
    ("Federation", "spec.vault.auth", "spec.vault.auth needs jwt"),
    ("Federation", "spec.vault.auth.jwt", "spec.vault.auth needs jwt"),
    ("Federation", "spec.vault.auth.jwt.role", "spec.vault.auth.jwt.role is missing"),
    ("BotClient", "spec", "spec is missing"),
    ("BotClient", "spec.tokens.0.name", "spec.tokens[0].name is missing"),
    ("FederationUser", "spec", "spec is missing"),
    ("FederationUser", "spec.username", "spec.username is missing"),
    ("PodIdentity", "spec", "spec is missing"),
    ("PodIdentity", "spec.platform", "spec.platform is missing"),
    ("PodIdentity", "spec.platform.generic", "spec.platform names nothing; set exactly one"),
    ("PodIdentity", "spec.botClientRef", "spec.botClientRef is missing"),
    ("PodIdentity", "spec.botClientRef.name", "spec.botClientRef.name is missing"),
]
WRONG: list[tuple[str, str, object]] = [
    ("Federation", "spec.keycloak", "https://keycloak.example.org"),
    ("Federation", "spec.keycloak.url", 443),
    ("Federation", "spec.keycloak.realm", ""),
    ("Federation", "spec.keycloak.issuerUrl", 5),
    ("Federation", "spec.keycloak.caBundle", ["PEM"]),
    ("Federation", "spec.keycloak.auth", "clientCredentials"),
    ("Federation", "spec.keycloak.auth.clientCredentials", "fedid-keycloak"),
    ("Federation", "spec.vault.kvVersion", 3),
    ("Federation", "spec.vault.kvVersion", "two"),
    ("Federation", "spec.vault.kvVersion", True),
    ("Federation", "spec.vault.kvVersion", [2]),
    ("Federation", "spec.vault.mount", {}),
    ("Federation", "spec.vault.auth.jwt", "fedid"),
    ("Federation", "spec.default", "false"),
    ("Federation", "spec.defaults", "10m"),
    ("Federation", "spec.defaults.tokenLifetime", 10),
    ("Federation", "spec.defaults.resyncPeriod", "often"),
    ("Federation", "spec.orphans", True),
    ("Federation", "spec.orphans", {"remove": "yes"}),
    ("Federation", "spec.orphans", {"after": "59m"}),
    ("Federation", "spec.drift", "Auto"),
    ("Federation", "spec.drift", {"adminEvents": "Always"}),
    ("Federation", "spec.drift", {"adminEvents": True}),
    ("Federation", "spec.drift", {"eventsInterval": "0s"}),
    ("Federation", "spec.drift", {"sweepPeriod": "often"}),
    ("Federation", "spec.drift", {"sweepPeriod": "0s"}),
    ("Federation", "spec.drift", {"pageSize": 0}),
    ("Federation", "spec.drift", {"pageSize": 501}),
    ("Federation", "spec.drift", {"pageSize": True}),
    ("Federation", "spec.grants", "all"),
    ("Federation", "spec.grants.0", "all"),
    ("Federation", "spec.grants.0.realmRoles", "*"),
    ("Federation", "spec.grants.0.clientRoles", ["realm-management"]),
    ("Federation", "spec.grants.0.clientRoles", {"superlink": "*"}),
    ("Federation", "spec.grants.0.maxTokenLifetime", 3600),
    ("Federation", "spec.grants.0.namespaces", "site-a"),
    ("Federation", "spec.grants.0.namespaces.names", "site-a"),
    ("Federation", "spec.grants.0.namespaces.selector", "fedid.io/tenant=true"),
    ("Federation", "spec.grants.0.namespaces.selector.matchLabels", {"fedid.io/tenant": None}),
    ("Federation", "spec.grants.0.namespaces.selector.matchLabels", {"fedid.io/tenant": True}),
    ("Federation", "spec.grants.0.namespaces.selector.matchExpressions", ["fedid.io/tenant"]),
    ("Federation", "spec.grants.0.namespaces.selector.matchExpressions", [{"operator": "Exists"}]),
    ("Federation", "spec.grants.0.namespaces.selector.matchExpressions", [{"key": "a"}]),
    ("BotClient", "spec.federationRef", "local"),
    ("BotClient", "spec.clientId", 5),
    ("BotClient", "spec.realmRoles", "fl-client"),
    ("BotClient", "spec.realmRoles", [["fl-client"]]),
    ("BotClient", "spec.audiences", {"superlink": True}),
    ("BotClient", "spec.clientRoles", ["superlink"]),
    ("BotClient", "spec.clientRoles", {"superlink": "submit"}),
    ("BotClient", "spec.tokens", "default"),
    ("BotClient", "spec.tokens.0", "default"),
    ("BotClient", "spec.tokens.0.lifetime", 600),
    ("BotClient", "spec.suspend", "false"),
    ("BotClient", "spec.expiresAt", 1893456000),
    ("FederationUser", "spec.enabled", "false"),
    ("FederationUser", "spec.email", ["ana@site-a.example"]),
    ("FederationUser", "spec.groups", "/sites/a"),
    ("PodIdentity", "spec.platform.generic", "files"),
    ("PodIdentity", "spec.platform.generic.files", ["token"]),
    ("PodIdentity", "spec.platform.generic.files", {"token": 5}),
    ("PodIdentity", "spec.secretName", 5),
]


def test_every_kind_has_a_plural_and_a_crd() -> None:
    """The list of kinds, their plurals and the CRDs name the same kinds; receipts are written, and never read back."""
    assert {*WATCHED, REVOCATION_RECEIPT} == set(PLURALS) == set(FILES)
    assert set(WATCHED) == set(PARSERS)
    assert {f"fedid.io_{plural}.yaml" for plural in PLURALS.values()} == set(FILES.values())


def test_the_federation_of_the_design_is_read() -> None:
    """The example of design.md means what it says, with the issuer derived from URL and realm."""
    found = parse_federation(body("Federation"))
    assert found.default
    assert found.keycloak == KeycloakAccess(
        url="https://keycloak.example.org",
        realm="fl",
        issuer_url="https://keycloak.example.org/realms/fl",
        ca_bundle=None,
        auth=ClientCredentialsAuth("fedid-keycloak"),
    )
    assert found.vault == VaultAccess(
        url="https://vault.example.org",
        mount="secret",
        kv_version=2,
        path_prefix="fedid",
        ca_bundle=None,
        auth=JwtAuth("jwt", "fedid"),
    )
    assert (found.token_lifetime, found.resync_period) == (timedelta(minutes=10), timedelta(minutes=10))


def test_a_federation_without_optional_fields_has_the_defaults_of_the_crd() -> None:
    """What the author leaves out is what the CRD's descriptions promise, also without the API server's defaulting."""
    spec = {
        "keycloak": {"url": "https://k.example/", "realm": "fl", "auth": {"clientCredentials": {"secretName": "s"}}},
        "vault": {"url": "https://v.example/", "auth": {"jwt": {"role": "fedid"}}},
    }
    found = parse_federation(body("Federation", spec))
    assert not found.default
    assert found.keycloak.url == "https://k.example"
    assert found.keycloak.issuer_url == "https://k.example/realms/fl"
    assert found.vault == VaultAccess("https://v.example", "secret", 2, "fedid", None, JwtAuth("jwt", "fedid"))
    assert found.drift == DriftSettings(True, timedelta(seconds=10), None, 100)


def test_what_a_federation_names_itself_is_taken() -> None:
    """Issuer, CA bundles, mounts and periods are those of the manifest where it has any."""
    spec: dict[str, Any] = {
        "keycloak": {
            "url": "http://keycloak.svc:8080",
            "realm": "fl",
            "issuerUrl": "https://login.example.org/realms/fl",
            "caBundle": "PEM K",
            "auth": {"clientCredentials": {"secretName": "s"}},
        },
        "vault": {
            "url": "https://v.example",
            "mount": "kv/one",
            "kvVersion": 1,
            "pathPrefix": "teams/fl",
            "caBundle": "PEM V",
            "auth": {"jwt": {"mount": "k8s", "role": "r"}},
        },
        "defaults": {"tokenLifetime": "5m", "resyncPeriod": "30s"},
        "drift": {"adminEvents": "Never", "eventsInterval": "1m", "sweepPeriod": "1h", "pageSize": 50},
    }
    found = parse_federation(body("Federation", spec))
    assert (found.keycloak.issuer_url, found.keycloak.ca_bundle) == ("https://login.example.org/realms/fl", "PEM K")
    assert found.vault == VaultAccess("https://v.example", "kv/one", 1, "teams/fl", "PEM V", JwtAuth("k8s", "r"))
    assert (found.token_lifetime, found.resync_period) == (timedelta(minutes=5), timedelta(seconds=30))
    assert found.drift == DriftSettings(False, timedelta(minutes=1), timedelta(hours=1), 50)


def sign_in(**auths: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a Federation whose `auth` of Keycloak or Vault is another one."""
    spec = copy.deepcopy(SPECS["Federation"])
    for backend, auth in auths.items():
        spec[backend]["auth"] = auth
    return spec


@pytest.mark.parametrize(
    ("auth", "read"),
    [
        ({"clientCredentials": {"secretName": "s"}}, ClientCredentialsAuth("s")),
        ({"privateKeyJwt": {"secretName": "k"}}, PrivateKeyJwtAuth("k")),
        ({"serviceAccountToken": {}}, ServiceAccountTokenAuth("")),
        ({"serviceAccountToken": {"clientId": "fedid"}}, ServiceAccountTokenAuth("fedid")),
        ({"serviceAccountToken": {}, "privateKeyJwt": None}, ServiceAccountTokenAuth("")),
    ],
)
def test_each_way_into_keycloak_is_read(auth: dict[str, Any], read: KeycloakAuth) -> None:
    """What stands there is what the operator will use."""
    assert parse_federation(body("Federation", sign_in(keycloak=auth))).keycloak.auth == read


@pytest.mark.parametrize(
    ("auth", "read"),
    [
        ({"jwt": {"role": "r"}}, JwtAuth("jwt", "r")),
        ({"kubernetes": {"role": "r"}}, KubernetesAuth("kubernetes", "r")),
        ({"kubernetes": {"role": "r", "mount": "k8s/a"}}, KubernetesAuth("k8s/a", "r")),
        ({"approle": {"secretName": "s"}}, AppRoleAuth("approle", "s")),
        ({"approle": {"secretName": "s", "mount": "m"}}, AppRoleAuth("m", "s")),
        ({"token": {"secretName": "s"}}, VaultTokenAuth("s")),
    ],
)
def test_each_way_into_vault_is_read(auth: dict[str, Any], read: VaultAuth) -> None:
    """Each method has the mount that Vault gives it by default."""
    assert parse_federation(body("Federation", sign_in(vault=auth))).vault.auth == read


@pytest.mark.parametrize(
    ("auths", "words"),
    [
        ({"keycloak": {"serviceAccountToken": {}, "clientCredentials": {"secretName": "s"}}}, "leave exactly one"),
        ({"vault": {"jwt": {"role": "r"}, "token": {"secretName": "s"}}}, "sets jwt and token; leave exactly one"),
        ({"keycloak": {"password": {}}}, "serviceAccountToken: {}"),
        ({"vault": {"userpass": {}}}, "token: {secretName:"),
        ({"keycloak": {"privateKeyJwt": {}}}, "spec.keycloak.auth.privateKeyJwt.secretName is missing"),
        ({"vault": {"approle": {"mount": "m"}}}, "spec.vault.auth.approle.secretName is missing"),
    ],
)
def test_a_way_in_that_is_none_is_told(auths: dict[str, dict[str, Any]], words: str) -> None:
    """None, two, or one that lacks its field: the sentence says what to write."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_federation(body("Federation", sign_in(**auths)))
    assert words in caught.value.message


def test_the_bot_of_the_design_is_read() -> None:
    """The example of design.md means what it says, with the default clientId."""
    found = parse_bot_client(body("BotClient"))
    assert found == BotClient(
        meta=meta_of(body("BotClient")),
        federation=None,
        client_id="site-a.trainer",
        default_named=True,
        description="",
        realm_roles=frozenset({"fl-client"}),
        client_roles={},
        audiences=frozenset({"superlink"}),
        tokens=(TokenSpec("default", timedelta(minutes=10)),),
    )


def test_an_empty_bot_is_a_bot() -> None:
    """`spec: {}` is a client with its secret and nothing else."""
    found = parse_bot_client(body("BotClient", {}))
    assert (found.client_id, found.realm_roles, found.client_roles) == ("site-a.trainer", frozenset(), {})
    assert (found.audiences, found.tokens, found.federation) == (frozenset(), (), None)


def test_what_a_bot_names_itself_is_taken() -> None:
    """Every field of the manifest arrives, and a client role list that is empty asks for nothing."""
    spec = {
        "federationRef": {"name": "other"},
        "clientId": "partner",
        "description": "trains",
        "clientRoles": {"superlink": ["submit", "run"], "empty": []},
        "tokens": [{"name": "a", "lifetime": "1m"}, {"name": "b"}],
    }
    found = parse_bot_client(body("BotClient", spec))
    assert (found.federation, found.client_id, found.description) == ("other", "partner", "trains")
    assert not found.default_named
    assert found.client_roles == {"superlink": frozenset({"submit", "run"})}
    assert found.tokens == (TokenSpec("a", timedelta(minutes=1)), TokenSpec("b", None))


def test_a_client_id_that_is_written_as_the_default_needs_no_grant() -> None:
    """The default clientId is the default also when it is written out."""
    assert parse_bot_client(body("BotClient", {"clientId": "site-a.trainer"})).default_named
    assert not parse_bot_client(body("BotClient", {"clientId": "site-b.trainer"})).default_named


INSTANTS = [
    ("2030-01-31T18:00:00Z", datetime(2030, 1, 31, 18, tzinfo=UTC)),
    ("2030-01-31t18:00:00z", datetime(2030, 1, 31, 18, tzinfo=UTC)),
    ("2030-01-31T19:30:00+01:30", datetime(2030, 1, 31, 18, tzinfo=UTC)),
    ("2030-01-31T18:00:00.123456789Z", datetime(2030, 1, 31, 18, 0, 0, 123456, tzinfo=UTC)),
]


@pytest.mark.parametrize(("written", "meant"), INSTANTS, ids=[written for written, _ in INSTANTS])
def test_an_instant_is_read_in_utc(written: str, meant: datetime) -> None:
    """Every spelling that RFC 3339 knows means its instant, to the microsecond."""
    found = parse_bot_client(body("BotClient", {"expiresAt": written, "suspend": True})).expires_at
    assert found == meant
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "written",
    ["tomorrow", "720h", "2030-01-31", "2030-01-31T18:00:00", "2030-02-30T18:00:00Z", "0001-01-01T00:00:00+14:00"],
)
def test_what_is_no_instant_is_refused(written: str) -> None:
    """A text that names no instant is refused by the field's name and an example, and never guessed at."""
    with pytest.raises(InvalidSpecError, match=r"^spec\.expiresAt is .*; write an instant like 2030-01-31T18:00:00Z$"):
        parse_bot_client(body("BotClient", {"expiresAt": written}))


def test_a_bot_is_wanted_for_ever_unless_it_says_otherwise() -> None:
    """Without either field, or with both empty, it is neither suspended nor expires."""
    for spec in ({}, {"suspend": False, "expiresAt": ""}):
        found = parse_bot_client(body("BotClient", spec))
        assert (found.suspend, found.expires_at) == (False, None)


def test_the_user_of_the_design_is_read() -> None:
    """The example of design.md means what it says; a user is enabled unless the manifest says otherwise."""
    found = parse_federation_user(body("FederationUser"))
    assert found == FederationUser(
        meta=meta_of(body("FederationUser")),
        federation=None,
        username="ana",
        email="ana@site-a.example",
        first_name="Ana",
        last_name="Novak",
        enabled=True,
        groups=frozenset({"/sites/a"}),
        realm_roles=frozenset({"fl-member"}),
    )


def test_a_user_of_a_name_alone_is_a_user() -> None:
    """Only the username is needed; everything else is none."""
    found = parse_federation_user(body("FederationUser", {"username": "ben", "enabled": False}))
    assert (found.email, found.first_name, found.last_name, found.enabled) == (None, None, None, False)
    assert (found.groups, found.realm_roles) == (frozenset(), frozenset())


def test_the_pod_identity_of_the_design_is_read() -> None:
    """The example of design.md means what it says; the Secret has the object's name unless another is given."""
    found = parse_pod_identity(body("PodIdentity"))
    meta, bot = meta_of(body("PodIdentity")), ObjectKey("BotClient", "site-a", "trainer")
    files = {"files": {"token": "{token}"}}
    assert found == PodIdentity(meta, "client", None, bot, None, "trainer", "generic", files)
    assert parse_pod_identity(with_value("PodIdentity", "spec.secretName", "other")).secret_name == "other"


@pytest.mark.parametrize(
    ("kind", "path", "told"), MISSING, ids=[f"a {kind} without {path}" for kind, path, _ in MISSING]
)
def test_a_missing_field_is_named(kind: str, path: str, told: str) -> None:
    """A field that must be there and is not is refused by a message that says where it belongs."""
    with pytest.raises(InvalidSpecError) as caught:
        PARSERS[kind](without(kind, path))
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize(
    ("kind", "path", "value"), WRONG, ids=[f"a {kind} whose {path} is {value!r}" for kind, path, value in WRONG]
)
def test_a_value_of_another_type_is_named_and_never_guessed_at(kind: str, path: str, value: object) -> None:
    """What an older schema let in is refused by name: a text is no list of letters, and `"false"` is not true."""
    with pytest.raises(InvalidSpecError) as caught:
        PARSERS[kind](with_value(kind, path, value))
    field = path.replace(".0", "[0]")
    assert caught.value.message.startswith(field)


@given(st.one_of(*MISTAKES["Federation"]))
def test_no_federation_makes_parsing_crash(found: Body) -> None:
    """Whatever a Federation holds, it is read or refused with a message that names a field."""
    _read_or_refused(found)


@given(st.one_of(*MISTAKES["BotClient"]))
def test_no_bot_makes_parsing_crash(found: Body) -> None:
    """Whatever a BotClient holds, it is read or refused with a message that names a field."""
    _read_or_refused(found)


@given(st.one_of(*MISTAKES["FederationUser"]))
def test_no_user_makes_parsing_crash(found: Body) -> None:
    """Whatever a FederationUser holds, it is read or refused with a message that names a field."""
    _read_or_refused(found)


@given(st.one_of(*MISTAKES["PodIdentity"]))
def test_no_pod_identity_makes_parsing_crash(found: Body) -> None:
    """Whatever a PodIdentity holds, it is read or refused with a message that names a field."""
    _read_or_refused(found)


@given(st.one_of(*MISTAKES["IdentityApproval"]))
def test_no_approval_makes_parsing_crash(found: Body) -> None:
    """Whatever an IdentityApproval holds, it is read or refused with a message that names a field."""
    _read_or_refused(found)


def _read_or_refused(found: Body) -> None:
    try:
        PARSERS[found["kind"]](found)
    except InvalidSpecError as error:
        told = error.message
    else:
        return
    assert told.startswith("spec")


def test_meta_is_identity_and_life() -> None:
    """Name, uid, generation, version, finalizers and annotations are what the API server says."""
    meta = meta_of(
        body("BotClient", finalizers=["kopf/x", FINALIZER], annotations={"a": "b"}, deletionTimestamp="2026-01-01")
    )
    assert meta.key == ObjectKey("BotClient", "site-a", "trainer")
    assert (meta.uid, meta.generation, meta.resource_version) == (UID, 1, "7")
    assert meta.deleting
    assert meta.finalizers == ("kopf/x", FINALIZER)
    assert meta.has_finalizer
    assert meta.annotations == {"a": "b"}


def test_meta_of_a_fresh_object_is_bare() -> None:
    """An object that nobody has touched has neither finalizer nor annotation and is not being deleted."""
    found = {"kind": "Federation", "metadata": {"name": "local", "uid": UID, "finalizers": None, "annotations": None}}
    meta = meta_of(found)
    assert meta.key == ObjectKey("Federation", "", "local")
    assert (meta.generation, meta.resource_version, meta.finalizers, meta.annotations) == (0, "", (), {})
    assert not meta.deleting
    assert not meta.has_finalizer


def test_another_finalizer_is_not_ours() -> None:
    """Only our own finalizer says that something may exist outside the cluster."""
    assert not meta_of(body("BotClient", finalizers=["kopf.zalando.org/KopfFinalizerMarker"])).has_finalizer
