"""Mistakes in a PodIdentity that is a SuperNode, and what the API server says to each."""

from typing import Any

from tests.crds.manifests import CERTIFICATE, GONE, POD, Manifest, Row, changed

NODE = "spec.platform.flower.superNode"
LINK = f"{NODE}.superLink"
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0"

SUPER_NODE: Manifest = changed(
    POD,
    {"spec.platform": {"flower": {"superNode": {"superLink": {"url": "https://superlink.example.org:8000"}}}}},
)
CLI = "spec.platform.flower.cli"
FLWR: dict[str, Any] = {NODE: GONE, f"{CLI}.superLink.url": "https://superlink.example.org:8000"}
"""A pod that runs the command `flwr` instead."""
EVERYTHING: dict[str, Any] = {
    LINK: {"url": "https://127.0.0.1:8000", "caBundle": CERTIFICATE, "account": "Bot"},
    f"{NODE}.mountPath": "/app/cert",
    f"{NODE}.rotation": {"every": "720h", "overlap": "1h30m"},
}
"""All that can be said of one."""

SUPER_NODE_ROWS: list[Row] = [
    (
        "a pod of Flower is nothing",
        {"spec.platform.flower": {}},
        "spec.platform.flower",
        "exactly one of superNode, cli and superLink",
    ),
    (
        "a SuperNode runs flwr",
        {CLI: {"superLink": {"url": "https://superlink:8000"}}},
        "spec.platform.flower",
        "exactly one",
    ),
    *(
        (f"flwr has {field} {value!r}", {**FLWR, f"{CLI}.{field}": value}, f"{CLI}.{field}", advice)
        for field, value, advice in (
            ("superLink.url", "http://superlink:8000", "nothing behind it"),
            ("superLink.url", "https://superlink/v1", "nothing behind it"),
            ("superLink.caBundle", KEY, "replace that key"),
            ("token", "Default", "such as default"),
            ("connection", 'a"b', "such as fedid"),
            ("federation", "a b", "such as @ana/hospitals"),
            ("mountPath", "etc", "such as /etc/flower"),
        )
    ),
    ("a SuperNode has no SuperLink", {NODE: {}}, LINK, "Required value"),
    ("a SuperLink has no address", {LINK: {}}, f"{LINK}.url", "Required value"),
    *(
        (f"a SuperLink is at {url!r}", {f"{LINK}.url": url}, f"{LINK}.url", "nothing behind it")
        for url in (
            "http://superlink:8000",
            "https://superlink:8000/",
            "https://superlink/v1/control",
            "https://user@superlink",
            "https://SuperLink:8000",
            "https://superlink:0",
            "https://superlink:8000 --insecure",
            "https://superlink:8000\n",
        )
    ),
    (
        "the CA is a key",
        {f"{LINK}.caBundle": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0"},
        f"{LINK}.caBundle",
        "replace that key",
    ),
    ("the CA is a file name", {f"{LINK}.caBundle": "/etc/ca.crt"}, f"{LINK}.caBundle", "paste the PEM text"),
    ("the account is another's", {f"{LINK}.account": "ana"}, f"{LINK}.account", 'supported values: "None", "Bot"'),
    *(
        (f"a SuperNode mounts at {path}", {f"{NODE}.mountPath": path}, f"{NODE}.mountPath", "such as /etc/flower")
        for path in ("etc/flower", "/etc/flower/", "/etc/../x", "/etc/a b", "/etc/$(x)")
    ),
    ("a key changes all the time", {f"{NODE}.rotation.every": "1s"}, f"{NODE}.rotation.every", "from 1m to 8760h"),
    ("a key changes in days", {f"{NODE}.rotation.every": "30d"}, f"{NODE}.rotation.every", "such as 720h"),
    ("the overlap is none", {f"{NODE}.rotation.overlap": "0s"}, f"{NODE}.rotation.overlap", "from 1s to 720h"),
    (
        "a server is a SuperNode",
        {"spec.role": "server", "spec.botClientRef": GONE},
        "spec.platform",
        "they need role: client",
    ),
    (
        "a SuperNode mounts files as well",
        {"spec.platform.generic": {"files": {"token": "{token}"}}},
        "spec.platform",
        "set exactly one platform",
    ),
]
