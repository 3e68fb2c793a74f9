"""Any bot that a spec can ask for, and the Federation of the samples as it is read."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from fedid.domain.resources import parse_federation
from tests.domain.samples import body, desired

FEDERATION = parse_federation(body("Federation"))
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
