"""Every field of every kind is described, bounded, and shown by `kubectl explain`."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.crds.manifests import CLUSTER_SCOPED, CRDS, PLURALS
from tests.testbed.chart import run_tool
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

Schema = Mapping[str, Any]

SHORT_NAMES = {
    "Federation": "fed",
    "BotClient": "bot",
    "FederationUser": "feduser",
    "PodIdentity": "podid",
    "IdentityApproval": "idapproval",
    "RevocationReceipt": "rr",
}

RECORDS = {"IdentityApproval": ("Approved By", "Reason"), "RevocationReceipt": ("Cause", "Proven")}
"""Kinds without a status, what a person or the operator said once, and the columns that tell it."""

DEFINITIONS = {
    crd["spec"]["names"]["kind"]: crd for crd in (yaml.safe_load(p.read_text()) for p in sorted(CRDS.glob("*.yaml")))
}

BY_KIND = pytest.mark.parametrize("kind", sorted(PLURALS))


def fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every field below a schema with its path; entries of lists and values of maps too."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), Mapping):
            yield f"{path}{mark}", schema[key]
            yield from fields(schema[key], f"{path}{mark}")


def root(kind: str) -> Schema:
    """Return the schema of a kind in crds/."""
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def test_there_is_one_definition_for_each_kind() -> None:
    """crds/ holds our kinds and nothing else, each in the file that its name says."""
    assert {kind: crd["spec"]["names"]["plural"] for kind, crd in DEFINITIONS.items()} == PLURALS
    assert {path.name for path in CRDS.iterdir()} == {f"fedid.io_{plural}.yaml" for plural in PLURALS.values()}


@pytest.mark.parametrize("path", sorted(CRDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_field_stands_twice(path: Path) -> None:
    """YAML takes the last one without a word, and the API server drops what only the first one knew."""
    waiting, twice = [yaml.compose(path.read_text())], []
    while waiting:
        match waiting.pop():
            case yaml.MappingNode(value=pairs):
                keys = [key.value for key, _ in pairs]
                twice += [
                    f"{key.value} in line {key.start_mark.line + 1}" for key, _ in pairs if keys.count(key.value) > 1
                ]
                waiting += [value for _, value in pairs]
            case yaml.SequenceNode(value=values):
                waiting += values
    assert twice == []


@BY_KIND
def test_every_field_is_described(kind: str) -> None:
    """Each description is a sentence; only `metadata` has none, since the API server brings its own."""
    silent = [
        path
        for path, schema in fields(root(kind))
        if path != ".metadata" and not schema.get("description", "").rstrip().endswith((".", ")"))
    ]

    assert silent == []
    assert root(kind)["description"]


@BY_KIND
def test_every_field_is_bounded(kind: str) -> None:
    """No string, list, map or number can grow without end."""
    assert [path for path, schema in fields(root(kind)) if not _bounded(schema)] == []


@BY_KIND
def test_every_list_says_how_it_is_compared(kind: str) -> None:
    """Names that are asked for or granted are sets: the order means nothing and none stands twice."""
    lists = {path: schema for path, schema in fields(root(kind)) if schema.get("type") == "array"}

    assert [path for path, schema in lists.items() if "x-kubernetes-list-type" not in schema] == []
    of_names = {path for path, schema in lists.items() if schema["items"]["type"] == "string"}
    assert {path for path in of_names if lists[path]["x-kubernetes-list-type"] != "set"} <= {
        # as in metav1.LabelSelector
        ".spec.grants[].namespaces.selector.matchExpressions[].values",
        ".spec.accepts.selector.matchExpressions[].values",
        ".spec.pods.selector.matchExpressions[].values",
        ".spec.platform.flower.superLink.openFga.users.selector.matchExpressions[].values",
        ".status.accepted[].fingerprints",
    }


@BY_KIND
def test_every_rule_says_what_to_write(kind: str) -> None:
    """Each CEL rule has a message of its own, without line breaks, that the API server can print."""
    rules = [
        (path, rule)
        for path, schema in (("", root(kind)), *fields(root(kind)))
        for rule in schema.get("x-kubernetes-validations", ())
    ]

    assert rules
    assert [path for path, rule in rules if not 10 < len(rule.get("message", "")) < 400] == []
    assert [path for path, rule in rules if "\n" in rule["message"]] == []


@BY_KIND
def test_definition_has_the_finish_of_a_product(kind: str) -> None:
    """Status is a subresource, columns are explained, `helm uninstall` keeps the definition."""
    crd = DEFINITIONS[kind]
    (version,) = crd["spec"]["versions"]

    assert crd["metadata"]["name"] == f"{PLURALS[kind]}.fedid.io"
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert crd["spec"]["scope"] == ("Cluster" if kind in CLUSTER_SCOPED else "Namespaced")
    assert crd["spec"]["names"]["shortNames"][0] == SHORT_NAMES[kind]
    assert crd["spec"]["names"]["categories"] == ["fedid"]
    has_status = kind not in RECORDS
    assert version.get("subresources") == ({"status": {}} if has_status else None)
    columns = version["additionalPrinterColumns"]
    assert {*RECORDS.get(kind, ("Ready", "Reason")), "Age"} <= {column["name"] for column in columns}
    assert [column["name"] for column in columns if not column.get("description")] == []
    assert [column["name"] for column in columns if column["type"] == "date"] == ["Age"]


@BY_KIND
def test_explain_shows_every_field(stack: Stack, kube: Rest, kind: str) -> None:
    """What the API server publishes, and `kubectl explain` prints, has each field with its description."""
    wanted = {
        path: schema["description"] for path, schema in fields(root(kind)) if path.startswith((".spec", ".status"))
    }

    published = {path: schema.get("description") for path, schema in fields(_published(kube, kind, wanted))}

    assert {path: published.get(path) for path in wanted} == wanted
    explained = run_tool(stack, ["kubectl", "explain", f"{PLURALS[kind]}.spec"])
    first_words = " ".join(wanted[".spec"].split()[:6])
    assert first_words in " ".join(explained.split())


@BY_KIND
def test_kind_is_listed_under_its_short_name_and_category(stack: Stack, kube: Rest, kind: str) -> None:
    """`kubectl get <short name>` works and `kubectl get fedid` covers the kind."""
    assert kube
    run_tool(stack, ["kubectl", "get", SHORT_NAMES[kind], "--all-namespaces"])

    listed = run_tool(stack, ["kubectl", "api-resources", "--categories=fedid", "--no-headers", "-o", "name"])

    assert f"{PLURALS[kind]}.fedid.io" in listed.split()


def _bounded(schema: Schema) -> bool:
    match schema.get("type"):
        case "string":
            return "maxLength" in schema or "enum" in schema
        case "array":
            return "maxItems" in schema
        case "object":
            return "maxProperties" in schema or "additionalProperties" not in schema
        case "integer":
            return "minimum" in schema or "enum" in schema
        case kind:
            return kind == "boolean"


def _published(kube: Rest, kind: str, wanted: Mapping[str, str]) -> Schema:
    """Return the schema that the API server publishes, once it has caught up with the definition."""
    schema: Schema = {}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        published = kube.answer("GET", "/openapi/v3/apis/fedid.io/v1alpha1").body or {}
        name = f"io.fedid.v1alpha1.{kind}"
        schema = published.get("components", {}).get("schemas", {}).get(name, {})
        if wanted.items() <= {path: found.get("description") for path, found in fields(schema)}.items():
            break
        time.sleep(0.2)
    return schema
