"""The operator as users run it: a Deployment of the chart, from the image of this clone, on the stack's node."""

from typing import TYPE_CHECKING, Any

from tests.testbed import cluster
from tests.testbed.control_plane import NODE_NAME
from tests.testbed.errors import StackError, TooLateError
from tests.testbed.progress import Progress, wait_until

if TYPE_CHECKING:
    from tests.testbed.stack import Stack

NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"
DEPLOYMENT_PATH = f"/apis/apps/v1/namespaces/{cluster.OPERATOR_NAMESPACE}/deployments/fedid"
PODS_PATH = f"/api/v1/namespaces/{cluster.OPERATOR_NAMESPACE}/pods"


def chart_values(stack: "Stack", *, with_operator: bool) -> dict[str, Any]:
    """Return what the chart needs to know of this node; nothing where there is none.

    Pods are on the host network, where they find the stack's servers on 127.0.0.1.
    """
    if stack.node is None:
        return {}
    image = stack.node.images.operator
    return {
        "replicaCount": 1 if with_operator else 0,
        "image": {"repository": image.repository, "tag": image.tag, "pullPolicy": "Never"},
        "hostNetwork": True,
        "health": {"port": stack.ports.operator_health},
        "keycloakToken": {"audience": stack.issuer_url},
    }


def guide_values(stack: "Stack") -> dict[str, Any]:
    """Return the values that a person needs to install the chart here by hand; `helm test` finds no Service here."""
    values = chart_values(stack, with_operator=True)
    return {**values, "installationCheck": {"operatorUrl": stack.operator_url}}


def wait_for_node(stack: "Stack", progress: Progress) -> None:
    """Wait until the node takes pods.

    Raises:
        StackError: It is not Ready in time; the message holds its conditions.
    """
    began = progress.elapsed_seconds

    def look() -> bool:
        node = stack.kube("GET", NODE_PATH, accept=(404,))
        if node.get("kind") != "Node":
            return False  # the kubelet has not registered it yet
        return cluster.condition(node, "Ready").get("status") == "True" and not node["spec"].get("taints")

    try:
        wait_until(progress, "", 90, look)
    except TooLateError:
        node = stack.kube("GET", NODE_PATH, accept=(404,))
        raise StackError(stack.process("kubelet").failure(f"has no Ready node: {cluster.told(node)}")) from None
    progress.say(f"node {NODE_NAME}: Ready after {progress.elapsed_seconds - began:.1f} s more")


def wait_for_operator(stack: "Stack", progress: Progress) -> None:
    """Wait until the newest pod of the Deployment is ready and no other is left.

    Raises:
        StackError: It is not in time; the message holds what its pods say.
    """
    began = progress.elapsed_seconds

    def look() -> bool:
        deployment = stack.kube("GET", DEPLOYMENT_PATH)
        status, generation = deployment["status"], deployment["metadata"]["generation"]
        return (
            status.get("observedGeneration") == generation
            and status.get("availableReplicas") == 1
            and status.get("updatedReplicas") == 1
            and status.get("replicas") == 1
        )

    try:
        wait_until(progress, "", 120, look)
    except TooLateError:
        pods = stack.kube("GET", PODS_PATH)["items"]
        said = [f"{pod['metadata']['name']}: {pod['status']}" for pod in pods]
        msg = f"The operator's Deployment is not available: {said or 'it has no pods'}"
        raise StackError(msg) from None
    progress.say(f"operator: its pod is ready after {progress.elapsed_seconds - began:.1f} s")


def restart_operator(stack: "Stack", progress: Progress) -> None:
    """Delete the operator's pod, and wait until it is gone and another is ready."""
    path = f"{PODS_PATH}?labelSelector=app.kubernetes.io%2Fname%3Dfedid"
    former = {pod["metadata"]["uid"] for pod in stack.kube("GET", path)["items"]}
    for pod in stack.kube("GET", path)["items"]:
        stack.kube("DELETE", f"{PODS_PATH}/{pod['metadata']['name']}")

    def look() -> bool:
        pods = stack.kube("GET", path)["items"]
        return {pod["metadata"]["uid"] for pod in pods}.isdisjoint(former) and any(map(cluster.is_ready, pods))

    wait_until(progress, "no other pod of the operator was ready", 120, look)
