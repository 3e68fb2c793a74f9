"""Mistakes in what a Federation says of OpenFGA, and what the API server says to each."""

from tests.crds.manifests import PRIVATE_KEY, Row

FGA = {
    "url": "https://openfga.example.org",
    "storeId": "01JZ0M9Q3V5W8X2Y4A6B7C8D9E",
    "auth": {"none": {}},
}

OPENFGA_ROWS: list[Row] = [
    (
        "OpenFGA has no store",
        {"spec.openFga": {name: value for name, value in FGA.items() if name != "storeId"}},
        "spec.openFga.storeId",
        "Required value",
    ),
    (
        "the store of OpenFGA is a name",
        {"spec.openFga": {**FGA, "storeId": "the-grid-of-our-federation"}},
        "spec.openFga.storeId",
        "as OpenFGA shows it",
    ),
    (
        "the model of OpenFGA is a name",
        {"spec.openFga": {**FGA, "modelId": "the-grid-of-our-federation"}},
        "spec.openFga.modelId",
        "as OpenFGA shows it",
    ),
    (
        "the URL of OpenFGA has a password",
        {"spec.openFga": {**FGA, "url": "https://fedid:secret@openfga.example.org"}},
        "spec.openFga.url",
        "carry no user or password",
    ),
    (
        "the URL of OpenFGA has a query",
        {"spec.openFga": {**FGA, "url": "https://openfga.example.org/?x"}},
        "spec.openFga.url",
        "without trailing slash, query or fragment",
    ),
    (
        "OpenFGA is trusted by a private key",
        {"spec.openFga": {**FGA, "caBundle": PRIVATE_KEY}},
        "spec.openFga.caBundle",
        "certificates only",
    ),
    ("nobody signs in to OpenFGA", {"spec.openFga": {**FGA, "auth": {}}}, "spec.openFga.auth", "exactly one"),
    (
        "OpenFGA is signed in to in two ways",
        {"spec.openFga": {**FGA, "auth": {"none": {}, "presharedKey": {"secretName": "fedid-openfga"}}}},
        "spec.openFga.auth",
        "exactly one",
    ),
    (
        "the key of OpenFGA is in another namespace",
        {"spec.openFga": {**FGA, "auth": {"presharedKey": {"secretName": "fl/openfga"}}}},
        "spec.openFga.auth.presharedKey.secretName",
        "without a namespace before it",
    ),
]
