"""Mistakes in a PodIdentity, and what the API server says to each."""

from typing import Any

from tests.crds.manifests import GONE, Row

FILES = "spec.platform.generic.files"
SELECTOR = "spec.pods.selector"


def _server(**accepts: Any) -> dict[str, Any]:
    """Return what makes the good client a server that accepts so."""
    selector = {"matchLabels": {"fedid.io/server": "aggregator"}}
    return {"spec.role": "server", "spec.botClientRef": GONE, "spec.accepts": {"selector": selector, **accepts}}


POD_ROWS: list[Row] = [
    (
        "a PodIdentity name is too long for labels",
        {"metadata.name": "p" * 64},
        "metadata.name",
        "secretName may be longer",
    ),
    ("a PodIdentity has no spec", {"spec": GONE}, "spec", "Required value"),
    ("a pod has no platform at all", {"spec.platform": GONE}, "spec.platform", "Required value"),
    ("a pod names a bot without a name", {"spec.botClientRef": {}}, "spec.botClientRef.name", "Required value"),
    ("a generic pod has no files", {"spec.platform.generic": {}}, "spec.platform.generic.files", "Required value"),
    (
        "a pod has no role",
        {"spec.role": GONE},
        "spec.role",
        "Required value",
    ),
    (
        "a pod has an unknown role",
        {"spec.role": "observer"},
        "spec.role",
        'supported values: "client", "server"',
    ),
    (
        "a server names a bot",
        {"spec.role": "server"},
        "spec.botClientRef",
        "write accepts instead",
    ),
    (
        "a client accepts bots",
        {"spec.accepts": {"selector": {"matchLabels": {"a": "b"}}}},
        "spec.accepts",
        "accepts is for role: server",
    ),
    (
        "a client names a Federation",
        {"spec.federationRef": {"name": "local"}},
        "spec.federationRef",
        "a client is of the Federation of its bot",
    ),
    (
        "a server accepts every bot",
        _server(selector={}),
        "spec.accepts.selector",
        "an empty selector would accept every bot",
    ),
    (
        "a server accepts bots of namespaces by pattern",
        _server(namespaces=["site-*"]),
        "spec.accepts.namespaces[0]",
        "patterns are not known here",
    ),
    (
        "a server accepts a token that cannot have that name",
        _server(token="a/b"),
        "spec.accepts.token",
        "the name of a token",
    ),
    (
        "a pod names a bot in a namespace that cannot be",
        {"spec.botClientRef.namespace": "Site B"},
        "spec.botClientRef.namespace",
        "the name of a namespace",
    ),
    (
        "a pod names no bot",
        {"spec.botClientRef": GONE},
        "spec.botClientRef",
        "role client needs botClientRef",
    ),
    (
        "a pod names the bot of another namespace",
        {"spec.botClientRef.name": "site-b/trainer"},
        "spec.botClientRef.name",
        "a BotClient of this namespace",
    ),
    (
        "a pod has no platform",
        {"spec.platform": {}},
        "spec.platform",
        "generic: {files:",
    ),
    (
        "a pod has two platforms",
        {"spec.platform.ai4flwr": {"distribution": "PyPI"}},
        "spec.platform",
        "set exactly one platform",
    ),
    (
        "a pod mounts no file",
        {FILES: {}},
        FILES,
        "name at least one file",
    ),
    (
        "a file lies in a folder",
        {FILES: {"etc/token": "{token}"}},
        FILES,
        "a Secret, which has no folders",
    ),
    (
        "a file is called ..",
        {FILES: {"..": "{token}"}},
        FILES,
        "not beginning with `..`",
    ),
    (
        "a file begins with two dots",
        {FILES: {"..data": "{token}"}},
        FILES,
        "not beginning with `..`",
    ),
    (
        "a file name is too long for a Secret",
        {FILES: {"k" * 254: "{token}"}},
        FILES,
        "at most 253 characters",
    ),
    (
        "a placeholder is misspelt",
        {FILES: {"token": "{Token}"}},
        f"{FILES}[token]",
        "placeholders are {token}, {token:<name>}",
    ),
    (
        "a placeholder is of another language",
        {FILES: {"token": "${TOKEN}"}},
        f"{FILES}[token]",
        "{introspectionUrl} and {jwksUrl}",
    ),
    (
        "a placeholder reaches for attributes",
        {FILES: {"token": "{token.__class__}"}},
        f"{FILES}[token]",
        "placeholders are",
    ),
    (
        "a placeholder has a blank",
        {FILES: {"token": "{ token }"}},
        f"{FILES}[token]",
        "placeholders are",
    ),
    (
        "a placeholder names a token in capitals",
        {FILES: {"token": "{token:Metrics}"}},
        f"{FILES}[token]",
        "{token:<name>}",
    ),
    (
        "a placeholder names a token that ends with a dash",
        {FILES: {"token": "{token:a-}"}},
        f"{FILES}[token]",
        "{token:<name>}",
    ),
    (
        "a placeholder names no token",
        {FILES: {"token": "{token:}"}},
        f"{FILES}[token]",
        "{token:<name>}",
    ),
    (
        "JSON has single braces",
        {FILES: {"oidc.json": '{"id": "{clientId}"}'}},
        f"{FILES}[oidc.json]",
        "write a literal brace twice",
    ),
    (
        "a brace is left open",
        {FILES: {"token": "{token"}},
        f"{FILES}[token]",
        "write a literal brace twice",
    ),
    (
        "a brace is closed once too often",
        {FILES: {"token": "{token}}"}},
        f"{FILES}[token]",
        "{{ or }}",
    ),
    (
        "a pod mounts more files than a Secret should hold",
        {FILES: {f"file-{i}": "{token}" for i in range(41)}},
        FILES,
        "must have at most 40 items",
    ),
    (
        "a template is longer than 16 KiB",
        {FILES: {"token": "x" * 16385}},
        f"{FILES}.token",
        "may not be more than 16384",
    ),
    (
        "a Secret name has an underscore",
        {"spec.secretName": "trainer_credential"},
        "spec.secretName",
        "such as trainer-credential",
    ),
    ("pods are nudged without a selector", {"spec.pods": {}}, "spec.pods.selector", "Required value"),
    (
        "a selector picks every pod",
        {SELECTOR: {}},
        SELECTOR,
        "say which pods mount the Secret",
    ),
    (
        "a selector has lists without anything in them",
        {SELECTOR: {"matchLabels": {}, "matchExpressions": []}},
        SELECTOR,
        "matchLabels: {app.kubernetes.io/name: trainer}",
    ),
    (
        "a selector is written like that of a Service",
        {SELECTOR: {"app": "trainer"}},
        SELECTOR,
        "for example matchLabels: {",
    ),
    (
        "a label key of pods has a blank",
        {f"{SELECTOR}.matchLabels": {"my app": "trainer"}},
        f"{SELECTOR}.matchLabels",
        "such as app.kubernetes.io/name",
    ),
    (
        "a label value of pods has a slash",
        {f"{SELECTOR}.matchLabels": {"app": "site-a/trainer"}},
        f"{SELECTOR}.matchLabels[app]",
        "write a label value",
    ),
    (
        "pods are asked for by too many labels",
        {f"{SELECTOR}.matchLabels": {f"label-{i}": "x" for i in range(17)}},
        f"{SELECTOR}.matchLabels",
        "must have at most 16 items",
    ),
    (
        "an operator on pods is unknown",
        {f"{SELECTOR}.matchExpressions": [{"key": "app", "operator": "Equals", "values": ["trainer"]}]},
        f"{SELECTOR}.matchExpressions[0].operator",
        'supported values: "In", "NotIn", "Exists", "DoesNotExist"',
    ),
    (
        "In on pods has no values",
        {f"{SELECTOR}.matchExpressions": [{"key": "app", "operator": "In"}]},
        f"{SELECTOR}.matchExpressions[0]",
        "In and NotIn need values",
    ),
    (
        "Exists on pods has values",
        {f"{SELECTOR}.matchExpressions": [{"key": "app", "operator": "Exists", "values": ["trainer"]}]},
        f"{SELECTOR}.matchExpressions[0]",
        "Exists and DoesNotExist take none",
    ),
    (
        "a pod asks for a reload that there is not",
        {"spec.reload": "Exec"},
        "spec.reload",
        'supported values: "None", "Signal", "Restart"',
    ),
    (
        "a signal goes to nobody",
        {"spec.reload": "Signal"},
        "spec.reload",
        "add pods: {selector:",
    ),
    (
        "a restart is of nobody",
        {"spec.reload": "Restart"},
        "spec.reload",
        "add pods: {selector:",
    ),
]
