"""The Keycloak clients of a server: what the grants let them be, as records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from fedid.domain.bot import TWO_SECRETS, DesiredBot, DesiredSecretRotation
from fedid.domain.bot_record import audience_mapper
from fedid.domain.grants import Ask, AskKind
from fedid.domain.judgement import Verdict
from fedid.domain.naming import client_uuid
from fedid.domain.oidc_client import ClaimSource, Flow, MappedClaim, OidcClientSpec
from fedid.domain.realm import (
    CLIENT_SECRET,
    DEVICE_FLOW,
    SERVICE_ACCOUNTS,
    TOKEN_LIFESPAN,
    ClientRecord,
    ProtocolMapper,
    RealmScopes,
)
from fedid.domain.resources import Federation, Meta
from fedid.domain.sensitive import Sensitive

__all__ = [
    "DesiredOidcClient",
    "asks_of_oidc_client",
    "client_uuids",
    "desired_oidc_clients",
    "oidc_client_record",
]

POST_LOGOUT: Final = "post.logout.redirect.uris"
_SERVICE_ACCOUNT_SCOPE: Final = "service_account"
"""Client scope that Keycloak gives to clients with a service account, and takes from others."""


@dataclass(frozen=True, slots=True)
class DesiredOidcClient:
    """The part of one client that the grants cover, made definite."""

    client_uuid: str
    client_id: str
    owner: str
    object_name: str
    flows: frozenset[Flow]
    public: bool
    redirect_uris: frozenset[str]
    post_logout_redirect_uris: frozenset[str]
    audiences: frozenset[str]
    claims: tuple[MappedClaim, ...]
    lifetime: timedelta
    """Of its access tokens."""
    issuer_url: str
    rotation: DesiredSecretRotation
    default_scopes: frozenset[str] = frozenset()
    optional_scopes: frozenset[str] = frozenset()
    """Client scopes beside the realm's own. Without full scope, what these list of a user's roles is in its tokens."""

    @property
    def as_bot(self) -> DesiredBot:
        """What it is as far as its secret goes: a bot that has neither roles nor tokens."""
        return DesiredBot(
            client_uuid=self.client_uuid,
            client_id=self.client_id,
            owner=self.owner,
            object_name=self.object_name,
            description="",
            realm_roles=frozenset(),
            client_roles={},
            audiences=self.audiences,
            lifetime=self.lifetime,
            tokens=(),
            issuer_url=self.issuer_url,
            rotation=self.rotation,
        )

    def scopes_of(self, realm: RealmScopes) -> RealmScopes:
        """Return the realm's client scopes as far as such a client gets them at its creation."""
        if Flow.CLIENT_CREDENTIALS in self.flows:
            return realm
        return RealmScopes(realm.ids, realm.default - {_SERVICE_ACCOUNT_SCOPE}, realm.optional)


def asks_of_oidc_client(spec: OidcClientSpec) -> frozenset[Ask]:
    """Return what the clients of a server ask the grants for."""
    asks = {Ask(AskKind.OIDC_FLOW, flow) for flow in spec.flows}
    asks |= {Ask(AskKind.REDIRECT_URI, uri) for uri in spec.redirect_uris | spec.post_logout_redirect_uris}
    asks |= {Ask(AskKind.AUDIENCE, audience) for audience in spec.audiences}
    asks |= {Ask(AskKind.SCOPE, scope) for scope in spec.default_scopes | spec.optional_scopes}
    asks |= {Ask(AskKind.CLAIM, claim.name) for claim in spec.claims if claim.source is ClaimSource.USER_ATTRIBUTE}
    if not spec.default_named:
        asks.add(Ask(AskKind.CLIENT_ID, spec.client_id))
    return frozenset(asks) | (asks_of_oidc_client(spec.second) if spec.second is not None else frozenset())


def client_uuids(uid: str) -> tuple[str, str]:
    """Return the internal ids of a server's client and of the public one beside it, by the uid of the object."""
    return client_uuid(uid), client_uuid(f"{uid}/public")


def desired_oidc_clients(
    spec: OidcClientSpec, meta: Meta, federation: Federation, verdict: Verdict, *, owner: str
) -> tuple[DesiredOidcClient, ...]:
    """Return the granted part: the server's client, then the public one beside it.

    None at all where the id of the client, or everything that it could do, is not granted.
    """
    main_uuid, second_uuid = client_uuids(meta.uid)
    main = _granted(spec, main_uuid, meta, federation, verdict, owner)
    if main is None:
        return ()
    if spec.second is None or (second := _granted(spec.second, second_uuid, meta, federation, verdict, owner)) is None:
        return (main,)
    # Whoever introspects a token has to be among those that it is for; asked of nobody, since both are one server's.
    return main, replace(second, audiences=second.audiences | {main.client_id})


def _granted(  # noqa: PLR0913 - what a client is made of
    spec: OidcClientSpec, uuid: str, meta: Meta, federation: Federation, verdict: Verdict, owner: str
) -> DesiredOidcClient | None:
    denied = verdict.denied
    if Ask(AskKind.CLIENT_ID, spec.client_id) in denied:
        return None
    uris = frozenset(uri for uri in spec.redirect_uris if Ask(AskKind.REDIRECT_URI, uri) not in denied)
    flows = frozenset(flow for flow in spec.flows if Ask(AskKind.OIDC_FLOW, flow) not in denied)
    if not uris:
        flows -= {Flow.AUTHORIZATION_CODE}
    if not flows:
        return None
    code = Flow.AUTHORIZATION_CODE in flows
    own = {spec.client_id} if spec.own_audience else set()
    after_logout = frozenset(
        uri for uri in spec.post_logout_redirect_uris if Ask(AskKind.REDIRECT_URI, uri) not in denied
    )
    lifetime = federation.token_lifetime
    if verdict.max_token_lifetime is not None:
        lifetime = min(lifetime, verdict.max_token_lifetime)
    return DesiredOidcClient(
        client_uuid=uuid,
        client_id=spec.client_id,
        owner=owner,
        object_name=str(meta.key),
        flows=flows,
        public=spec.public,
        redirect_uris=uris if code else frozenset(),
        post_logout_redirect_uris=after_logout if code else frozenset(),
        audiences=frozenset(a for a in spec.audiences if Ask(AskKind.AUDIENCE, a) not in denied) | own,
        claims=tuple(claim for claim in spec.claims if Ask(AskKind.CLAIM, claim.name) not in denied),
        lifetime=lifetime,
        issuer_url=federation.keycloak.issuer_url,
        rotation=DesiredSecretRotation(
            every=spec.every,
            overlap=spec.overlap if spec.overlap is not None else federation.overlap,
            allow_interruption=spec.allow_interruption,
        ),
        default_scopes=frozenset(s for s in spec.default_scopes if Ask(AskKind.SCOPE, s) not in denied),
        optional_scopes=frozenset(s for s in spec.optional_scopes if Ask(AskKind.SCOPE, s) not in denied),
    )


def oidc_client_record(client: DesiredOidcClient, *, secret: Sensitive | None, not_before: int = 0) -> ClientRecord:
    """Return the Keycloak client of a server.

    Args:
        client: What is wanted.
        secret: The secret to set; None leaves it as it is.
        not_before: Seconds since the epoch, Keycloak's clock; only read at creation.
    """
    code = Flow.AUTHORIZATION_CODE in client.flows
    attributes = {
        TOKEN_LIFESPAN: str(int(client.lifetime.total_seconds())),
        "client_credentials.use_refresh_token": "false",
        # As an attribute only: Keycloak refuses the field of that name (keycloak #19688).
        DEVICE_FLOW: _word(Flow.DEVICE in client.flows),
        "oidc.ciba.grant.enabled": "false",
    }
    if client.post_logout_redirect_uris:
        attributes[POST_LOGOUT] = "##".join(sorted(client.post_logout_redirect_uris))
    if client.public and code:
        # Keycloak asks for it in the device flow too then, where many clients send none.
        attributes["pkce.code.challenge.method"] = "S256"
    if not client.public:
        attributes[TWO_SECRETS] = "true"
    return ClientRecord(
        client_uuid=client.client_uuid,
        client_id=client.client_id,
        owner=client.owner,
        object_name=client.object_name,
        description="",
        enabled=True,
        secret=secret,
        flags={
            "publicClient": client.public,
            "bearerOnly": False,
            "standardFlowEnabled": code,
            "implicitFlowEnabled": False,
            "directAccessGrantsEnabled": False,
            SERVICE_ACCOUNTS: Flow.CLIENT_CREDENTIALS in client.flows,
            "consentRequired": False,
            "authorizationServicesEnabled": False,
            # What a server gets to see of its users must not grow with the roles that they have elsewhere.
            "fullScopeAllowed": False,
        },
        attributes=attributes,
        mappers=(*map(audience_mapper, sorted(client.audiences)), *map(_claim_mapper, client.claims)),
        # Without webOrigins Keycloak would make some of the redirect URIs.
        uris={"redirectUris": tuple(sorted(client.redirect_uris)), "webOrigins": ()},
        authenticator=CLIENT_SECRET,
        not_before=not_before,
    )


def _claim_mapper(claim: MappedClaim) -> ProtocolMapper:
    tokens = {
        "id.token.claim": _word(claim.in_id_token),
        "userinfo.token.claim": _word(claim.in_userinfo),
        "access.token.claim": "false",
        "introspection.token.claim": "false",
    }
    match claim.source:
        case ClaimSource.GROUPS:
            kind, config = "oidc-group-membership-mapper", {"full.path": "true"}
        case ClaimSource.USER_ATTRIBUTE:
            kind, config = "oidc-usermodel-attribute-mapper", {"user.attribute": claim.name, "jsonType.label": "String"}
    return ProtocolMapper(f"claim {claim.name}", kind, {"claim.name": claim.name, **config, **tokens})


def _word(value: bool) -> str:  # noqa: FBT001 - it is the value that is put into words
    return "true" if value else "false"
