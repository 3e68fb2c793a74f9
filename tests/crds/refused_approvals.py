"""Mistakes in an IdentityApproval, and what the API server says to each."""

from tests.crds.manifests import GONE, Row

IDENTITY = "spec.identity"

APPROVAL_ROWS: list[Row] = [
    ("an approval has no spec", {"spec": GONE}, "spec", "Required value"),
    *(
        (f"an approval has no {field}", {f"spec.{field}": GONE}, f"spec.{field}", "Required value")
        for field in ("identity", "askHash", "reason", "approvedBy")
    ),
    *(
        (f"an approved identity has no {field}", {f"{IDENTITY}.{field}": GONE}, f"{IDENTITY}.{field}", "Required value")
        for field in ("kind", "namespace", "name", "uid")
    ),
    (
        "an approval is of something that is no identity",
        {f"{IDENTITY}.kind": "Federation"},
        f"{IDENTITY}.kind",
        "supported values",
    ),
    (
        "an approval names many namespaces",
        {f"{IDENTITY}.namespace": "site-*"},
        f"{IDENTITY}.namespace",
        "the full name of one namespace",
    ),
    ("an approval names many objects", {f"{IDENTITY}.name": "*"}, f"{IDENTITY}.name", "the name of one object"),
    ("an approval names no uid", {f"{IDENTITY}.uid": "x" * 36}, f"{IDENTITY}.uid", "copy metadata.uid"),
    ("the hash of an approval is none", {"spec.askHash": "x" * 64}, "spec.askHash", "from the identity's condition"),
    ("the hash of an approval is cut off", {"spec.askHash": "0" * 63}, "spec.askHash", "at least 64"),
    ("an approval gives no reason", {"spec.reason": " "}, "spec.reason", "write why"),
    ("the reason of an approval is that of the hint", {"spec.reason": "<why>"}, "spec.reason", "write why"),
    ("an approval expires some day", {"spec.expiresAt": "tomorrow"}, "spec.expiresAt", "date-time"),
]
