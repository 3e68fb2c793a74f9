"""The pure parts of the Keycloak adapter: representations, refusals, the server's clock."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.adapters.answer import Answer
from fedid.adapters.keycloak.refusals import (
    ForbiddenError,
    NotFoundError,
    TakenError,
    explanation,
    refusal,
)
from fedid.adapters.keycloak.representations import (
    client_record,
    client_representation,
    user_record,
    user_representation,
)
from fedid.adapters.keycloak.server_clock import TRUST_SECONDS, ServerClock
from fedid.adapters.transport import Transport
from fedid.domain.realm import ClientRecord, ProtocolMapper, UserRecord
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError, StaleObjectError

CLIENT = ClientRecord(
    client_uuid="uuid-1",
    client_id="site-a.trainer",
    owner="installation/uid",
    object_name="BotClient/site-a/trainer",
    description="trains",
    enabled=True,
    secret=Sensitive("s3cret"),
    flags={"serviceAccountsEnabled": True},
    attributes={"access.token.lifespan": "600"},
    mappers=(ProtocolMapper("audience", "oidc-audience-mapper", {"included.custom.audience": "superlink"}),),
    authenticator="client-secret",
    not_before=1_800_000_000,
)
USER = UserRecord(
    user_id="id-1",
    username="ana",
    owner="installation/uid",
    object_name="FederationUser/site-a/ana",
    enabled=True,
    email="ana@site-a.example",
    first_name="Ana",
    last_name=None,
    attributes={"locale": ("de",)},
    email_verified=True,
)


class TestRepresentations:
    """Records to representations and back."""

    def test_client_round_trip(self) -> None:
        """A client survives."""
        assert client_record(client_representation(CLIENT), with_secret=True) == replace(CLIENT)

    def test_secret_is_only_ours(self) -> None:
        """A secret is taken over only if it is asked for and the client carries a mark."""
        found = client_representation(CLIENT)
        unmarked = client_representation(replace(CLIENT, owner=None))
        assert client_record(found, with_secret=False).secret is None
        assert client_record(unmarked, with_secret=True).secret is None

    def test_left_alone(self) -> None:
        """What the record does not know is not sent, so Keycloak keeps it."""
        found = client_representation(replace(CLIENT, secret=None, not_before=0))
        assert not {"secret", "notBefore"} & found.keys()

    def test_released(self) -> None:
        """Without an owner both marks are sent empty, which removes them."""
        found = client_representation(replace(CLIENT, owner=None, object_name=None))
        assert (found["attributes"]["fedid.owner"], found["attributes"]["fedid.object"]) == ("", "")

    def test_bare_client(self) -> None:
        """A client of which Keycloak says next to nothing is read all the same."""
        record = client_record({"id": "1", "clientId": "bare"}, with_secret=True)
        assert (record.owner, record.description, record.enabled, record.mappers) == (None, "", False, ())

    def test_user_round_trip(self) -> None:
        """A user survives, with the attributes that others set."""
        found = {**user_representation(USER), "id": "id-1"}
        assert user_record({**found, "lastName": None}) == USER

    def test_user_is_sent_whole(self) -> None:
        """E-mail and names are always sent: Keycloak drops them when it gets attributes without them."""
        found = user_representation(replace(USER, email=None, first_name=None))
        assert (found["email"], found["firstName"], found["lastName"]) == ("", "", "")

    def test_bare_user(self) -> None:
        """A user without attributes carries no mark."""
        record = user_record({"id": "1", "username": "bare"})
        assert (record.owner, record.object_name, record.attributes) == (None, None, {})


def answer(status: int, body: object = None) -> Answer:
    """Return an answer with a body: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {}, content, 0.0, 0.0, "keycloak.test:443", "keycloak")


def refused(status: int, body: object, *, method: str = "POST", path: str = "clients") -> Exception:
    """Return what an answer becomes."""
    return refusal(answer(status, body), realm="fl", client_id="fedid-operator", method=method, path=path)


class TestRefusals:
    """What a 4xx becomes."""

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (400, {"errorMessage": "no"}, BackendRejectedError),
            (401, {"error": "HTTP 401 Unauthorized"}, BackendDeniedError),
            (403, {"error": "HTTP 403 Forbidden"}, ForbiddenError),
            (404, {"error": "Could not find client"}, NotFoundError),
            (409, {"errorMessage": "Client a already exists"}, TakenError),
            (415, {"error": "HTTP 415"}, BackendRejectedError),
        ],
    )
    def test_kinds(self, status: int, body: object, kind: type[Exception]) -> None:
        """Each status has its error."""
        assert type(refused(status, body)) is kind

    def test_gone_is_stale(self) -> None:
        """What is gone under our hands is looked at again soon, not after minutes."""
        assert issubclass(NotFoundError, StaleObjectError)

    @pytest.mark.parametrize("body", [b"<html>404 page not found</html>", b"", b"[]", b'"gone"', {}, {"message": "?"}])
    @pytest.mark.parametrize("status", [401, 403, 404, 409])
    def test_not_keycloak(self, status: int, body: object) -> None:
        """A page of a proxy never passes for Keycloak's "gone", "denied" or "taken"."""
        error = refused(status, body)
        assert type(error) is BackendRejectedError
        assert "in another form than Keycloak" in str(error)

    @pytest.mark.parametrize(
        ("path", "role"),
        [
            ("clients/1/service-account-user", "manage-clients"),
            ("clients?first=0", "manage-clients"),
            ("users/1/role-mappings/realm", "manage-users"),
            ("group-by-path/sites", "manage-users"),
            ("roles", "view-realm"),
            ("", "view-realm"),
        ],
    )
    def test_denied(self, path: str, role: str) -> None:
        """A 403 names the role that is missing and whose."""
        error = str(refused(403, {"error": "HTTP 403 Forbidden"}, path=path))
        assert role in error
        assert "fedid-operator" in error

    def test_administrative_role(self) -> None:
        """A 403 on mapping a role says that it may be the role's fault."""
        path = "users/1/role-mappings/clients/2"
        assert "administrative role" in str(refused(403, {"error": "no"}, path=path))
        assert "administrative role" not in str(refused(403, {"error": "no"}, path=path, method="GET"))

    @pytest.mark.parametrize(("path", "body"), [("", {"error": "x"}), ("users/1", {"error": "Realm not found."})])
    def test_realm(self, path: str, body: object) -> None:
        """A realm that is not there has its own reason."""
        error = refused(404, body, path=path)
        assert isinstance(error, BackendRejectedError)
        assert (error.reason, "fl" in str(error)) == ("RealmNotFound", True)

    def test_words(self) -> None:
        """Keycloak's own words are told, the field first, without the value."""
        one = {"field": "email", "errorMessage": "error-invalid-email", "params": ["email", "p4ssw0rd"]}
        other = {"field": "firstName", "errorMessage": "error-person-name-invalid-character"}
        told = explanation(answer(400, {"errors": [one, other]}))
        assert told == "email: error-invalid-email; firstName: error-person-name-invalid-character"
        assert explanation(answer(400, {"error": "a", "error_description": "b"})) == "b"

    @pytest.mark.parametrize(
        "credential", ["x" * 32, "hvs.CAESIJ-abc_def.ghi+jkl/mno=pqrstuvwxyz", "eyJhbGciOi.eyJpc3MiOi" * 2, "A" * 900]
    )
    def test_no_credential(self, credential: str) -> None:
        """Whatever is long enough to be a credential is taken out of Keycloak's words."""
        told = explanation(answer(400, {"error_description": f"bad value '{credential}' here\nand\x00more"}))
        assert told == "bad value '…' here and more"

    def test_bounded(self) -> None:
        """Words do not fill a status."""
        assert len(explanation(answer(400, {"error": "so long " * 500}))) <= 200

    @given(
        st.binary()
        | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: json.dumps(v).encode())
    )
    def test_any_body(self, body: bytes) -> None:
        """No body, however odd, breaks the translation."""
        assert refused(400, body)


class Ticks:
    """Monotonic seconds and Keycloak's true clock, which runs beside it."""

    def __init__(self, offset: float) -> None:
        """Start at 100 s, Keycloak `offset` seconds ahead."""
        self.seconds = 100.0
        self.offset = offset

    def true(self) -> float:
        """Return Keycloak's clock in seconds since the epoch."""
        return self.seconds + self.offset


def token(clock: ServerClock, ticks: Ticks, before: float, after: float) -> None:
    """Request a token that is issued `before` seconds after sending and comes back `after` seconds later."""
    sent = ticks.seconds
    ticks.seconds += before
    issued = datetime.fromtimestamp(math.floor(ticks.true()), UTC)
    ticks.seconds += after
    clock.saw(issued, sent=sent, received=ticks.seconds)


class TestServerClock:
    """Keycloak's clock, bounded by its tokens."""

    def test_unknown(self) -> None:
        """Before the first token there is no guess."""
        with pytest.raises(BackendUnavailableError):
            ServerClock().at_least()
        with pytest.raises(BackendUnavailableError):
            ServerClock().at_most()

    def test_goes_on_while_the_machine_sleeps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keycloak does not sleep with us, so the clock of a connection counts that too."""
        asleep = 0.0
        counted = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda which: counted(which) + asleep)
        transport = Transport("keycloak", "http://keycloak")
        clock = ServerClock(monotonic=transport.monotonic)
        now = transport.monotonic()
        clock.saw(datetime(2026, 1, 1, 12, tzinfo=UTC), sent=now, received=now)
        asleep = 3600.0
        assert clock.at_least() >= datetime(2026, 1, 1, 12, 59, 59, tzinfo=UTC)
        assert clock.at_most() >= datetime(2026, 1, 1, 13, tzinfo=UTC)

    @given(
        offset=st.floats(1.7e9, 1.9e9),
        requests=st.lists(st.tuples(st.floats(0, 15), st.floats(0, 15), st.floats(0, 400)), min_size=1, max_size=8),
    )
    def test_bounds(self, offset: float, requests: list[tuple[float, float, float]]) -> None:
        """However slow the answers were, the second that it is now lies within the bounds."""
        ticks = Ticks(offset)
        clock = ServerClock(monotonic=lambda: ticks.seconds)
        for before, after, pause in requests:
            token(clock, ticks, before, after)
            ticks.seconds += pause
            now = math.floor(ticks.true())
            # The sum of two floats of this size is off by up to a microsecond.
            assert clock.at_least().timestamp() <= now + 1e-3
            assert clock.at_most().timestamp() >= math.floor(ticks.true() - 1e-3)

    def test_narrows(self) -> None:
        """A quick answer after a slow one narrows the bounds."""
        ticks = Ticks(1.8e9)
        clock = ServerClock(monotonic=lambda: ticks.seconds)
        token(clock, ticks, 5.0, 5.0)
        assert clock.at_most() - clock.at_least() >= timedelta(seconds=10)
        token(clock, ticks, 0.1, 0.1)
        assert clock.at_most() - clock.at_least() <= timedelta(seconds=2)

    @pytest.mark.parametrize("step", [-60.0, 60.0])
    def test_set(self, step: float) -> None:
        """A clock that was set is followed, back as well as forth."""
        ticks = Ticks(1.8e9)
        clock = ServerClock(monotonic=lambda: ticks.seconds)
        token(clock, ticks, 0.1, 0.1)
        ticks.offset += step
        token(clock, ticks, 0.1, 0.1)
        now = math.floor(ticks.true())
        assert clock.at_least().timestamp() <= now <= clock.at_most().timestamp()

    def test_old_bounds_go(self) -> None:
        """Bounds that are old are replaced, since two clocks drift apart."""
        ticks = Ticks(1.8e9)
        clock = ServerClock(monotonic=lambda: ticks.seconds)
        token(clock, ticks, 0.0, 0.0)
        ticks.seconds += TRUST_SECONDS + 1.5
        ticks.offset -= 0.3
        token(clock, ticks, 0.0, 0.0)
        ticks.seconds += 0.6
        assert clock.at_least().timestamp() <= math.floor(ticks.true())


def test_representation_is_json() -> None:
    """What is sent can be sent."""
    found: dict[str, Any] = json.loads(json.dumps(client_representation(CLIENT)))
    assert found["id"] == "uuid-1"
    assert json.loads(json.dumps(user_representation(USER)))["attributes"]["fedid.owner"] == ["installation/uid"]
