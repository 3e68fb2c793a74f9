"""Any object that the structural schema of a CRD admits (its CEL rules apart), made from crds/ as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

CRDS = Path(__file__).parents[2] / "crds"
FILES = {
    "RevocationReceipt": "fedid.io_revocationreceipts.yaml",
    "IdentityApproval": "fedid.io_identityapprovals.yaml",
    "Federation": "fedid.io_federations.yaml",
    "BotClient": "fedid.io_botclients.yaml",
    "FederationUser": "fedid.io_federationusers.yaml",
    "PodIdentity": "fedid.io_podidentities.yaml",
}
LONGEST = 12
"""Characters and items; more would only cost time."""

PLAUSIBLE = ("10m", "1h30m", "fl-*", "fl-client", "/sites/a", "a", "superlink", "{token}", "default", "local")

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=LONGEST),
        st.sampled_from(PLAUSIBLE),
    ),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.text(max_size=LONGEST), children, max_size=3)
    ),
    max_leaves=8,
)
"""Anything that JSON can say."""


def spec_schema(kind: str) -> Mapping[str, Any]:
    """Return the schema of a kind's `spec`."""
    crd = yaml.safe_load((CRDS / FILES[kind]).read_text(encoding="utf-8"))
    schema: Mapping[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def admitted(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for everything that a structural schema admits."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            values = admitted(schema["additionalProperties"])
            return st.dictionaries(st.text(max_size=LONGEST), values, max_size=3)
        case "object":
            return _object(schema)
        case "array":
            return st.lists(admitted(schema["items"]), max_size=3)
        case "string":
            least, most = schema.get("minLength", 0), min(schema.get("maxLength", LONGEST), LONGEST)
            fitting = [text for text in PLAUSIBLE if least <= len(text) <= most]
            anything = st.text(min_size=least, max_size=max(least, most))
            return st.one_of(st.sampled_from(fitting), anything) if fitting else anything
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case other:
            message = f"a schema type that no CRD of ours used yet: {other}"
            raise NotImplementedError(message)


def _object(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    required = set(schema.get("required") or ())
    fields = {name: admitted(field) for name, field in (schema.get("properties") or {}).items()}
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


@st.composite
def damaged(draw: st.DrawFn, schema: Mapping[str, Any]) -> Any:
    """Draw an admitted value in which one place holds anything at all, as another schema might have let in."""
    value = draw(admitted(schema))
    parent: Any = None
    key: Any = None
    place = value
    while isinstance(place, (dict, list)) and place and draw(st.integers(0, 3)):
        parent = place
        key = draw(st.sampled_from(sorted(place))) if isinstance(place, dict) else draw(st.integers(0, len(place) - 1))
        place = parent[key]
    anything = draw(JSON)
    if parent is None:
        return anything
    parent[key] = anything
    return value
