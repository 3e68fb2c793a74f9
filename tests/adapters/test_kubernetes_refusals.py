"""What the API server refuses: told with what is missing, and never with what was sent."""

from __future__ import annotations

import base64
import json
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedid.adapters.kubernetes import KubernetesCluster
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError
from tests.adapters.kubernetes_parts import (
    MERGE_PATCH,
    account_with,
    administrator,
    cluster_as,
    forget_account,
    namespace_of_its_own,
    secret_in,
)
from tests.e2e.waiting import eventually
from tests.testbed.faults import Status, requests_to
from tests.testbed.proxy import proxy_for
from tests.testbed.stack import Stack

SECRETS = requests_to("/api/v1/namespaces/.*/secrets.*")
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture
def namespace(stack: Stack) -> Iterator[str]:
    """Yield a namespace that only this test uses."""
    with namespace_of_its_own(stack) as name:
        yield name


@pytest.fixture
def nobody(stack: Stack, namespace: str) -> Iterator[dict[str, str]]:
    """Yield a kubeconfig user that may see Namespaces and nothing else."""
    account = account_with(stack, namespace, [])
    yield {"token": account.token()}
    forget_account(account)


async def test_a_missing_permission_names_verb_resource_and_namespace(
    stack: Stack, nobody: dict[str, str], namespace: str, tmp_path: Path
) -> None:
    """Whoever reads the message knows which rule to add, and that the chart brings it."""
    bot = {"kind": "BotClient", "metadata": {"name": "a", "namespace": namespace, "uid": "u", "resourceVersion": "1"}}
    async with cluster_as(stack, tmp_path, nobody, namespace=namespace) as cluster:
        for call, told in (
            (cluster.read_secret(namespace, "x"), f"get secrets x in namespace {namespace}"),
            (cluster.create_secret(secret_in(namespace)), f"create secrets in namespace {namespace}"),
            (cluster.delete_secret(namespace, "x", "u"), f"delete secrets x in namespace {namespace}"),
            (cluster.read_own_secret("x"), f"get secrets x in namespace {namespace}"),
            (cluster.read("BotClient", namespace, "a"), f"get botclients a in namespace {namespace}"),
            (cluster.patch_status(bot, {}), f"patch botclients/status a in namespace {namespace}"),
            (cluster.set_finalizers(bot, ()), f"patch botclients a in namespace {namespace}"),
            (cluster.listing("Federation"), "list federations"),
            (cluster.installation_id(), f"get configmaps fedid-installation in namespace {namespace}"),
        ):
            with pytest.raises(BackendDeniedError, match=f"the operator may not {told}: .*helm upgrade") as caught:
                await call
            assert caught.value.reason == "BackendDenied"


async def test_a_token_that_is_not_accepted_is_told(stack: Stack, tmp_path: Path) -> None:
    """401 is about the token, not about a permission, and does not show it."""
    async with cluster_as(stack, tmp_path, {"token": "n0-such-t0ken"}) as cluster:
        with pytest.raises(BackendDeniedError, match="does not accept the operator's token") as caught:
            await cluster.read_secret("default", "x")

    assert "n0-such-t0ken" not in "".join(traceback.format_exception(caught.value))


async def test_a_permission_that_went_with_the_namespace(
    stack: Stack, nobody: dict[str, str], namespace: str, tmp_path: Path
) -> None:
    """RoleBindings may go before Secrets: in a namespace that is being deleted a 403 counts as gone."""
    folder = f"/api/v1/namespaces/{namespace}"
    stack.kube("POST", f"{folder}/configmaps", {"metadata": {"name": "holds", "finalizers": ["fedid.io/test"]}})
    secret = replace(secret_in(namespace), uid="u", resource_version="1")
    async with cluster_as(stack, tmp_path, nobody) as cluster:
        with pytest.raises(BackendDeniedError, match="may not get secrets"):
            await cluster.read_secret(namespace, "x")
        stack.kube("DELETE", folder)

        assert await cluster.read_secret(namespace, "x") is None
        await cluster.delete_secret(namespace, "x", "u")
        for call in (cluster.create_secret(secret), cluster.replace_secret(secret)):
            with pytest.raises(BackendDeniedError) as caught:
                await call
            assert caught.value.reason == "NamespaceTerminating"

    stack.kube("PATCH", f"{folder}/configmaps/holds", {"metadata": {"finalizers": None}}, headers=MERGE_PATCH)


async def test_a_quota_is_named(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """A quota that is used up is a refusal that names it, not a missing permission."""
    folder = f"/api/v1/namespaces/{namespace}/resourcequotas"
    limits = {"secrets": "0"}
    stack.kube("POST", folder, {"metadata": {"name": "small"}, "spec": {"hard": limits}})
    # What the quota controller, which the stack does without, would do.
    status = {"status": {"hard": limits, "used": {"secrets": "0"}}}
    stack.kube("PATCH", f"{folder}/small/status", status, headers=MERGE_PATCH)
    async with cluster_as(stack, tmp_path, administrator(stack)) as cluster:
        refused = await first_refusal(cluster, namespace)

    told = f"create secrets in namespace {namespace}: the quota small of the namespace is used up"
    assert refused is not None
    assert told in refused.message


async def first_refusal(cluster: KubernetesCluster, namespace: str, **data: str) -> BackendRejectedError | None:
    """Create Secrets until one is refused: admission learns of a new quota or policy by a watch."""
    for number in range(200):
        try:
            await cluster.create_secret(secret_in(namespace, f"s-{number}", **data))
        except BackendRejectedError as error:
            return error
    return None


async def test_a_policy_that_quotes_the_secret_is_named_and_not_quoted(
    stack: Stack, namespace: str, tmp_path: Path
) -> None:
    """Admission may put what it was shown into its message; only the policy's name is passed on."""
    secret = uuid.uuid4().hex
    encoded = base64.b64encode(secret.encode()).decode()
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
    selector = {"matchLabels": {"fedid.io/test": namespace}}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "messageExpression": "'cannot take ' + string(object.data['token'])"}],
    }
    binding = {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    stack.kube("POST", f"{ADMISSION}/validatingadmissionpolicies", {"metadata": {"name": namespace}, "spec": spec})
    stack.kube(
        "POST", f"{ADMISSION}/validatingadmissionpolicybindings", {"metadata": {"name": namespace}, "spec": binding}
    )
    probe = {"metadata": {"name": "probe"}, "stringData": {"token": "a"}}
    folder = f"/api/v1/namespaces/{namespace}/secrets?dryRun=All"
    eventually(lambda: stack.api("kube").answer("POST", folder, probe).status >= 400, "the policy is in force")
    async with cluster_as(stack, tmp_path, administrator(stack)) as cluster:
        refused = await first_refusal(cluster, namespace, token=secret)
    for resource in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        stack.kube("DELETE", f"{ADMISSION}/{resource}/{namespace}")

    assert refused is not None
    assert f"the ValidatingAdmissionPolicy {namespace} denies it" in refused.message
    shown = "".join(traceback.format_exception(refused))
    assert encoded not in shown
    assert secret not in shown


async def test_a_webhook_is_named_and_not_quoted(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """The same for a webhook."""
    message = 'admission webhook "guard.example.org" denied the request: cannot take t0p-s3cret'
    body = json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": 403})
    with proxy_for(stack, "kube") as proxy:
        proxy.inject(Status(403, body), SECRETS)
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            with pytest.raises(BackendRejectedError, match=r"webhook guard\.example\.org denies it") as caught:
                await cluster.create_secret(secret_in(namespace))

    assert "t0p-s3cret" not in "".join(traceback.format_exception(caught.value))


async def test_an_invalid_secret_names_its_fields(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """Of a Secret that is not valid only the names of the fields are told."""
    async with cluster_as(stack, tmp_path, administrator(stack)) as cluster:
        invalid = replace(secret_in(namespace), data={"a b": Sensitive("t0p-s3cret")})
        with pytest.raises(BackendRejectedError, match=r"it objects to data\[a b\]") as caught:
            await cluster.create_secret(invalid)

    assert "t0p-s3cret" not in "".join(traceback.format_exception(caught.value))


async def test_an_invalid_status_is_explained(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """About our own kinds, which hold no credential, the API server's sentence is passed on."""
    folder = f"/apis/fedid.io/v1alpha1/namespaces/{namespace}/botclients"
    bot = {"apiVersion": "fedid.io/v1alpha1", "kind": "BotClient", "metadata": {"name": "a"}, "spec": {}}
    body = stack.kube("POST", folder, bot)
    async with cluster_as(stack, tmp_path, administrator(stack)) as cluster:
        with pytest.raises(
            BackendRejectedError, match=r"patch botclients/status a .*\[status\.clientId: Invalid value"
        ):
            await cluster.patch_status(body, {"clientId": 5})


@pytest.mark.parametrize(
    ("answer", "told", "unknown"),
    [
        pytest.param(Status(429, "{}", {"Retry-After": "7"}), "asks to wait 7 s", False, id="priority and fairness"),
        pytest.param(Status(503, "{}"), "answered 503", True, id="starting or stopping"),
        pytest.param(Status(500, "{}"), "answered 500", True, id="etcd away"),
    ],
)
async def test_later_is_told_as_such(  # noqa: PLR0913 - a case and its surroundings
    stack: Stack,
    namespace: str,
    tmp_path: Path,
    answer: Status,
    told: str,
    unknown: bool,  # noqa: FBT001
) -> None:
    """What passes by itself is unavailable; after a 5xx to a write its effect is unknown, after a 429 there is none."""
    with proxy_for(stack, "kube") as proxy:
        proxy.inject(answer, SECRETS)
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            with pytest.raises(BackendUnavailableError, match=told) as caught:
                await cluster.create_secret(secret_in(namespace))
            assert caught.value.outcome_unknown is unknown
            assert caught.value.backend == "kubernetes"
            with pytest.raises(BackendUnavailableError) as caught:
                await cluster.read_secret(namespace, "x")
            assert caught.value.outcome_unknown is False
            if answer.code == 429:
                assert caught.value.retry_after is not None
                assert caught.value.retry_after.total_seconds() == 7


async def test_a_conflict_that_is_no_taken_name_passes_by(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """A create may also meet a 409 of a quota's own counter: that is no Secret of that name."""
    body = '{"kind": "Status", "reason": "Conflict", "message": "resourcequotas: object has been modified"}'
    with proxy_for(stack, "kube") as proxy:
        proxy.inject(Status(409, body), SECRETS)
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            with pytest.raises(BackendUnavailableError, match="others write at the same time"):
                await cluster.create_secret(secret_in(namespace))


async def test_missing_definitions_are_not_missing_objects(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """Without our CRDs every path is a 404: that must never look as if all identities had been deleted."""
    with proxy_for(stack, "kube") as proxy:
        proxy.inject(Status(404, "404 page not found\n"), requests_to("/apis/fedid.io/.*"))
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            for call in (cluster.read("BotClient", namespace, "a"), cluster.listing("BotClient")):
                with pytest.raises(BackendRejectedError, match="does not know botclients: install the CRDs"):
                    await call
