"""What the reconcilers need from the world, as Protocols; adapters implement them, fakes do too.

Rules for every implementation: errors leave only as `fedid.errors` classes; "not found" on a read is None; "already
gone" on a delete is success; after `BackendUnavailableError.outcome_unknown` the caller reads back before repeating.
No method retries a write by itself.
"""

from __future__ import annotations

from fedid.ports.backends import BackendFactory
from fedid.ports.clients import Clients
from fedid.ports.clocks import Clock
from fedid.ports.cluster import Cluster, Sidecars
from fedid.ports.identity_provider import IdentityProvider
from fedid.ports.meter import Meter
from fedid.ports.node_registry import NodeRegistry
from fedid.ports.realm import Realm
from fedid.ports.secret_store import Entries, SecretStore
from fedid.ports.survey import Survey
from fedid.ports.token_endpoint import TokenEndpoint
from fedid.ports.tuple_store import TupleStore
from fedid.ports.users import Users

__all__ = [
    "BackendFactory",
    "Clients",
    "Clock",
    "Cluster",
    "Entries",
    "IdentityProvider",
    "Meter",
    "NodeRegistry",
    "Realm",
    "SecretStore",
    "Sidecars",
    "Survey",
    "TokenEndpoint",
    "TupleStore",
    "Users",
]
