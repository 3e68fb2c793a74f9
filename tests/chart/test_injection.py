"""Pods that ask for an identity get it mounted, and keep all that they have, on a real API server."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chart.injecting import KINDS, injection
from tests.chart.render import of_kind, rendered
from tests.e2e.waiting import eventually
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

DEFAULT_PATH = "/var/run/secrets/fedid.io/credential"
VOLUME = {"name": "fedid-credential", "secret": {"secretName": "trainer", "defaultMode": 0o444}}
MOUNT = {"name": "fedid-credential", "readOnly": True, "mountPath": DEFAULT_PATH}
VARIABLE = {"name": "FEDID_CREDENTIAL_DIR", "value": DEFAULT_PATH}


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace where pods are injected."""

    stack: Stack
    namespace: str

    def answer(self, spec: dict[str, Any] | None = None, **annotations: str) -> Answer:
        """Ask for a pod, without any effect; `identity`, `secret` and `mount_path` are its annotations."""
        named = {f"fedid.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
        main = {"name": "main", "image": "registry.example.org/trainer:1"}
        spec = {"automountServiceAccountToken": False, "containers": [main], **copy.deepcopy(spec or {})}
        body = {"metadata": {"name": "trainer", "annotations": named}, "spec": spec}
        return self.stack.api("kube").answer("POST", f"/api/v1/namespaces/{self.namespace}/pods?dryRun=All", body)

    def pod(self, spec: dict[str, Any] | None = None, **annotations: str) -> dict[str, Any]:
        """Return the spec of a pod as it would be."""
        answer = self.answer(spec, **annotations or {"identity": "trainer"})
        assert answer.status == 201, answer.text
        found: dict[str, Any] = answer.body["spec"]
        return found


@pytest.fixture(scope="module")
def site(stack: Stack) -> Iterator[Site]:
    """A namespace with the policies in force."""
    name = f"inject-{secrets.token_hex(4)}"
    stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = {"metadata": {"name": "default"}}
    stack.kube("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account, accept=(409,))
    with injection(stack, name):
        yield Site(stack, name)
    stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


def container(spec: dict[str, Any], name: str = "main") -> dict[str, Any]:
    """Return a container of a pod."""
    found: list[dict[str, Any]] = [*spec["containers"], *spec.get("initContainers", ())]
    return next(one for one in found if one["name"] == name)


def test_a_pod_that_asks_gets_volume_mount_and_environment(site: Site) -> None:
    """The Secret has the name of the identity, unless the pod says otherwise."""
    spec = site.pod()

    assert spec["volumes"] == [VOLUME]
    assert container(spec)["volumeMounts"] == [MOUNT]
    assert container(spec)["env"] == [VARIABLE]


def test_a_pod_that_does_not_ask_gets_nothing(site: Site) -> None:
    """Also with other annotations of ours."""
    for others in ({"secret": "trainer"}, {"credential_nudge": "1-1"}):
        answer = site.answer(**others)
        assert answer.status == 201, answer.text
        assert answer.body["spec"].get("volumes") is None
        assert "env" not in answer.body["spec"]["containers"][0]


def test_elsewhere_nothing_happens(site: Site, stack: Stack) -> None:
    """The selector of namespaces holds."""
    body = {"metadata": {"name": "p", "annotations": {"fedid.io/identity": "No"}}}
    spec = {"automountServiceAccountToken": False, "containers": [{"name": "main", "image": "a:1"}]}
    stack.kube("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}, accept=(409,))
    answer = stack.api("kube").answer("POST", "/api/v1/namespaces/default/pods?dryRun=All", {**body, "spec": spec})

    assert answer.status == 201, answer.text
    assert answer.body["spec"].get("volumes") is None
    assert site.namespace != "default"


def test_secret_and_path_of_its_own(site: Site) -> None:
    """Where the PodIdentity has a secretName, and the program another folder."""
    spec = site.pod(identity="trainer", secret="trainer.credential", mount_path="/run/fedid")

    assert spec["volumes"] == [{**VOLUME, "secret": {"secretName": "trainer.credential", "defaultMode": 0o444}}]
    assert container(spec)["volumeMounts"] == [{**MOUNT, "mountPath": "/run/fedid"}]
    assert container(spec)["env"] == [{**VARIABLE, "value": "/run/fedid"}]


def test_every_container_gets_it(site: Site) -> None:
    """Those before, those beside, and a sidecar that starts before the others."""
    init = [{"name": "before", "image": "a:1"}, {"name": "reload", "image": "a:1", "restartPolicy": "Always"}]
    spec = site.pod(
        {"containers": [{"name": "main", "image": "a:1"}, {"name": "b", "image": "a:1"}], "initContainers": init}
    )

    for name in ("main", "b", "before", "reload"):
        assert container(spec, name)["volumeMounts"] == [MOUNT]
        assert container(spec, name)["env"] == [VARIABLE]
    assert container(spec, "reload")["restartPolicy"] == "Always"


def test_with_a_group_of_its_own_the_files_are_the_groups(site: Site) -> None:
    """Nobody else of the pod can read them."""
    spec = site.pod({"securityContext": {"fsGroup": 1000}})

    assert spec["volumes"][0]["secret"]["defaultMode"] == 0o440


def test_what_the_pod_has_stays(site: Site) -> None:
    """Other volumes, mounts and variables, of every kind and in their order."""
    volumes = [{"name": "work", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "a", "defaultMode": 0o644}}]
    mounts = [{"name": "work", "mountPath": "/work"}, {"name": "work", "mountPath": "/tmp", "subPath": "tmp"}]  # noqa: S108
    secret = {"secretKeyRef": {"name": "other", "key": "k"}}
    env = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": secret}]
    main = {"name": "main", "image": "a:1", "env": env, "volumeMounts": mounts, "command": ["a"]}
    spec = site.pod({"containers": [main], "volumes": volumes})

    assert spec["volumes"] == [*volumes, VOLUME]
    assert container(spec)["volumeMounts"] == [*mounts, MOUNT]
    assert container(spec)["env"] == [*env, VARIABLE]
    assert container(spec)["command"] == ["a"]


def test_a_pod_that_has_it_already_stays_as_it_is(site: Site) -> None:
    """A second time changes nothing."""
    once = site.pod({"initContainers": [{"name": "before", "image": "a:1"}]})

    assert site.pod(once) == once


def test_a_volume_of_that_secret_is_used(site: Site) -> None:
    """Under its own name and where its containers mount it; those without it get it."""
    volume = {"name": "mine", "secret": {"secretName": "trainer", "defaultMode": 0o400}}
    main = {"name": "main", "image": "a:1", "volumeMounts": [{"name": "mine", "mountPath": "/etc/fl"}]}
    spec = site.pod({"containers": [main, {"name": "b", "image": "a:1"}], "volumes": [volume]})

    assert spec["volumes"] == [volume]
    assert container(spec)["volumeMounts"] == [{"name": "mine", "mountPath": "/etc/fl"}]
    assert container(spec)["env"] == [{**VARIABLE, "value": "/etc/fl"}]
    assert container(spec, "b")["volumeMounts"] == [{**MOUNT, "name": "mine"}]


def test_a_container_that_has_something_else_there_keeps_it(site: Site) -> None:
    """And is not told of a folder that is not the credential's."""
    main = {"name": "main", "image": "a:1", "volumeMounts": [{"name": "work", "mountPath": DEFAULT_PATH}]}
    spec = site.pod({"containers": [main], "volumes": [{"name": "work", "emptyDir": {}}]})

    assert container(spec)["volumeMounts"] == [{"name": "work", "mountPath": DEFAULT_PATH}]
    assert "env" not in container(spec)


def test_a_variable_of_that_name_is_the_pods_own(site: Site) -> None:
    """Its value stays."""
    env = [{"name": "FEDID_CREDENTIAL_DIR", "value": "/elsewhere"}]
    spec = site.pod({"containers": [{"name": "main", "image": "a:1", "env": env}]})

    assert container(spec)["env"] == env
    assert container(spec)["volumeMounts"] == [MOUNT]


REFUSED = [
    pytest.param({"identity": "Trainer"}, "not the name of a PodIdentity", id="a name that is none"),
    pytest.param({"identity": ""}, "not the name of a PodIdentity", id="no name"),
    pytest.param({"identity": "a/b"}, "not the name of a PodIdentity", id="of another namespace"),
    pytest.param({"identity": "a", "secret": "../b"}, "not the name of a Secret", id="a Secret that is none"),
    pytest.param({"identity": "a", "mount_path": "run"}, "no absolute path", id="no absolute path"),
    pytest.param({"identity": "a", "mount_path": "/"}, "no absolute path", id="over everything"),
    pytest.param({"identity": "a", "mount_path": "/run/../etc"}, "no absolute path", id="a path that climbs"),
    pytest.param({"identity": "a", "mount_path": "/run:/etc"}, "no absolute path", id="two paths"),
]


@pytest.mark.parametrize(("annotations", "words"), REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(site: Site, annotations: dict[str, str], words: str) -> None:
    """Instead of a pod that never starts."""
    answer = site.answer(**annotations)

    assert answer.status == 422, answer.text
    assert words in answer.body["message"]


def test_a_volume_of_that_name_that_is_something_else_is_refused(site: Site) -> None:
    """It is not overwritten."""
    answer = site.answer({"volumes": [{"name": "fedid-credential", "emptyDir": {}}]}, identity="trainer")

    assert answer.status == 422, answer.text
    assert "give that volume another name" in answer.body["message"]


def test_a_controller_s_pods_are_injected_as_well(site: Site, stack: Stack) -> None:
    """The annotation stands in the template of a Deployment."""
    template = {
        "metadata": {"labels": {"app": "trainer"}, "annotations": {"fedid.io/identity": "trainer"}},
        "spec": {"containers": [{"name": "main", "image": "a:1"}], "schedulerName": "nobody"},
    }
    spec = {"selector": {"matchLabels": {"app": "trainer"}}, "template": template}
    folder = f"/apis/apps/v1/namespaces/{site.namespace}/deployments"
    stack.kube("POST", folder, {"metadata": {"name": "trainer"}, "spec": spec})
    pods = eventually(
        lambda: stack.kube("GET", f"/api/v1/namespaces/{site.namespace}/pods?labelSelector=app%3Dtrainer")["items"],
        "a pod of it",
    )
    assert VOLUME in pods[0]["spec"]["volumes"]
    assert stack.kube("GET", f"{folder}/trainer")["spec"]["template"]["spec"].get("volumes") is None


def test_off_by_default(stack: Stack) -> None:
    """The chart installs no policy that changes pods unless it is asked to."""
    names = [one["metadata"]["name"] for one in of_kind(rendered(stack), *KINDS)]
    assert not [name for name in names if "inject" in name]
