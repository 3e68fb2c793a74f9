"""Bad manifests are refused by the API server, each with one sentence that says what to write."""

from typing import Any

import pytest

from tests.crds.manifests import APPROVAL, BOT, FEDERATION, POD, RECEIPT, USER, Manifest, changed, collection
from tests.crds.refused_approvals import APPROVAL_ROWS
from tests.crds.refused_bots import BOT_ROWS
from tests.crds.refused_federations import FEDERATION_ROWS
from tests.crds.refused_grants import GRANT_ROWS
from tests.crds.refused_openfga import OPENFGA_ROWS
from tests.crds.refused_platforms import PLATFORM_ROWS
from tests.crds.refused_pods import POD_ROWS
from tests.crds.refused_receipts import RECEIPT_ROWS
from tests.crds.refused_servers import DAI_ROWS, DAI_SERVER, LINK_ROWS, SERVER, SERVER_ROWS, SUPER_LINK
from tests.crds.refused_super_nodes import SUPER_NODE, SUPER_NODE_ROWS
from tests.crds.refused_users import USER_ROWS
from tests.testbed.rest import Rest


def _parameters() -> list[Any]:
    tables = (
        (FEDERATION, FEDERATION_ROWS),
        (FEDERATION, GRANT_ROWS),
        (FEDERATION, OPENFGA_ROWS),
        (BOT, BOT_ROWS),
        (USER, USER_ROWS),
        (APPROVAL, APPROVAL_ROWS),
        (RECEIPT, RECEIPT_ROWS),
        (POD, POD_ROWS),
        (POD, PLATFORM_ROWS),
        (SERVER, SERVER_ROWS),
        (DAI_SERVER, DAI_ROWS),
        (SUPER_LINK, LINK_ROWS),
        (SUPER_NODE, SUPER_NODE_ROWS),
    )
    return [
        pytest.param(changed(good, changes), field, advice, id=sentence)
        for good, rows in tables
        for sentence, changes, field, advice in rows
    ]


@pytest.mark.parametrize(("manifest", "field", "advice"), _parameters())
def test_bad_manifest_is_refused(kube: Rest, namespace: str, manifest: Manifest, field: str, advice: str) -> None:
    """The refusal names the field and says what to write, and a credential is not repeated in it."""
    answer = kube.answer("POST", f"{collection(manifest, namespace)}?dryRun=All", manifest)

    assert answer.status == 422, answer.text
    assert field in answer.body["message"]
    assert advice in answer.body["message"]
    assert "c2VjcmV0" not in answer.text
    told = [cause for cause in answer.body["details"]["causes"] if cause["field"] != "<nil>"]
    assert len({cause["field"] for cause in told}) <= 1, "one mistake, one sentence"


UNKNOWN = [
    pytest.param(FEDERATION, "spec.keycloak.auth.token", id="a token cannot be written into a Federation"),
    pytest.param(FEDERATION, "spec.grant", id="grants is misspelt"),
    pytest.param(BOT, "spec.clientSecret", id="a client secret cannot be written into a BotClient"),
    pytest.param(BOT, "spec.suspended", id="suspend is misspelt"),
    pytest.param(USER, "spec.password", id="a password cannot be written into a FederationUser"),
    pytest.param(POD, "spec.botClientRef.clientId", id="a pod cannot name a client of Keycloak"),
]


@pytest.mark.parametrize(("good", "path"), UNKNOWN)
def test_unknown_field_is_refused(kube: Rest, namespace: str, good: Manifest, path: str) -> None:
    """A field that does not work yet is refused under kubectl's strict validation, never ignored."""
    manifest = changed(good, {path: "x"})
    query = "?dryRun=All&fieldValidation=Strict"

    answer = kube.answer("POST", collection(manifest, namespace) + query, manifest)

    assert answer.status == 400, answer.text
    assert f'unknown field "{path}"' in answer.body["message"]
