"""Mistakes in a RevocationReceipt, and what the API server says to each."""

from tests.crds.manifests import GONE, Row

RECEIPT_ROWS: list[Row] = [
    ("a receipt has no spec", {"spec": GONE}, "spec", "Required value"),
    ("a receipt is about nothing", {"spec.object": GONE}, "spec.object", "Required value"),
    ("a receipt gives no cause", {"spec.cause": GONE}, "spec.cause", "Required value"),
    ("a receipt has a cause of its own", {"spec.cause": "Lost"}, "spec.cause", "supported values"),
    ("a receipt is about no identity", {"spec.object.kind": "Pod"}, "spec.object.kind", "supported values"),
    (
        "a receipt proves nothing and says nothing of what remains",
        {"spec.provenAt": GONE, "spec.remains": GONE},
        "spec",
        "what may have stayed behind",
    ),
    *(
        (f"evidence has no {field}", {f"spec.evidence.0.{field}": GONE}, f"spec.evidence[0].{field}", "Required value")
        for field in ("credential", "presentedTo", "answer", "at")
    ),
    ("evidence is of some day", {"spec.evidence.0.at": "noon"}, "spec.evidence[0].at", "date-time"),
]
