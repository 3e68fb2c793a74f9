"""The story of one bot: asked for, made, mounted, renewed, put back, deleted, refused."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.demo.in_pods import Pods, clock, now
from tests.demo.narrator import Narrator, StoryError
from tests.e2e.authority import Authority, claims_of
from tests.testbed.bringup import down, up
from tests.testbed.errors import CancelledError, StackError
from tests.testbed.progress import Progress
from tests.testbed.stack import Stack

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMESPACE, BOT, CLIENT_ID = "site-a", "trainer", "site-a.trainer"
VAULT = f"fedid/{NAMESPACE}/bots/{BOT}"


def main() -> int:
    """Tell the story on a stack of its own and remove it; return the exit code."""
    name = os.environ.get("TESTBED") or "demo"
    progress = Progress()
    try:
        stack = up(name, operator=True, progress=progress)
        tell(stack)
    except (StackError, StoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, CancelledError):
        print("\nstopped; removing the stack", file=sys.stderr)
        return 130
    finally:
        down(name, progress=progress)
    return 0


def tell(stack: Stack) -> None:
    """Tell the story.

    Raises:
        StoryError: It does not go as told.
    """
    narrator = Narrator(f"{stack.paths.root / 'bin'}:{os.environ['PATH']}", str(stack.paths.kubeconfig))
    authority = Authority(stack)
    pods = Pods(narrator, stack, stack.node) if stack.node is not None else None
    _ground(narrator, pods)
    _ask(narrator)
    _made(narrator, stack, authority)
    if pods is not None:
        _presented(narrator, stack, pods)
    _renewed(narrator, stack, authority, pods)
    _refused_manifests(narrator)
    _secret_rotated(narrator, stack, authority)
    _put_back(narrator, stack, authority)
    _deleted(narrator, stack, authority, pods)
    print("\nThat was it. `make up` leaves the same stack running for you.")


def _ground(narrator: Narrator, pods: Pods | None) -> None:
    narrator.chapter("A platform team runs Keycloak and Vault, installs fedid, and says who may ask for what")
    narrator.helm("list", "-n", "fedid-system")
    if pods is not None:
        narrator.kubectl("get", "pods", "-n", "fedid-system")
    narrator.kubectl("get", "federations")
    narrator.kubectl("get", "federation", "local", "-o", "jsonpath={.spec.grants}")
    narrator.say("Only namespaces with the tenant label may ask, only for fl-* roles, /sites/* groups, one audience.")


def _ask(narrator: Narrator) -> None:
    narrator.chapter("A tenant asks for a bot, a person and what a pod mounts")
    narrator.kubectl("apply", "-f", str(EXAMPLES / "quickstart.yaml"))
    for kind, name in (("botclient", BOT), ("federationuser", "ana"), ("podidentity", BOT)):
        narrator.kubectl(
            "wait", "--for=condition=Ready", "--timeout=60s", "-n", NAMESPACE, f"{kind}/{name}", quiet=True
        )
    narrator.kubectl("get", "fedid", "-n", NAMESPACE)


def _made(narrator: Narrator, stack: Stack, authority: Authority) -> None:
    narrator.chapter("What was made where")
    client = authority.client(CLIENT_ID) or {}
    token = _mounted(stack, "token")
    claims = claims_of(token)
    narrator.fact("Keycloak client", f"{CLIENT_ID}, owner mark {client['attributes']['fedid.owner']}")
    narrator.fact("  roles of its service account", ", ".join(sorted(authority.service_account_roles(client["id"]))))
    for path in ("client", "tokens/default"):
        narrator.fact(f"Vault secret/{VAULT}/{path}", ", ".join(sorted(authority.vault(f"{VAULT}/{path}") or {})))
    narrator.fact("Secret site-a/trainer", ", ".join(sorted(_secret(stack))))
    narrator.fact(
        "  its token says", f"azp={claims['azp']}, aud={claims['aud']}, lives {claims['exp'] - claims['iat']} s"
    )
    answer = authority.introspect(token)
    narrator.fact("the verifier `superlink` asks", f"introspection: active={answer['active']}, sub={answer['sub']}")
    account = authority.user("ana") or {}
    narrator.fact("Keycloak user", f"ana <{account['email']}>, groups {', '.join(authority.groups(account['id']))}")
    _require(answer["active"] is True, "the published token is accepted")


def _refused_manifests(narrator: Narrator) -> None:
    narrator.chapter("What nobody granted is not made")
    greedy = json.dumps(
        {
            "apiVersion": "fedid.io/v1alpha1",
            "kind": "BotClient",
            "metadata": {"name": "greedy", "namespace": NAMESPACE},
            "spec": {"realmRoles": ["offline_access"], "tokens": [{"name": "default"}]},
        }
    )
    path = Path(narrator.kubeconfig).with_name("greedy.json")
    path.write_text(greedy)
    narrator.kubectl("apply", "-f", str(path), quiet=True)
    narrator.wait(
        lambda: "NotGranted" in narrator.kubectl("get", "bot", "greedy", "-n", NAMESPACE, quiet=True), "NotGranted"
    )
    narrator.kubectl("get", "bot", "greedy", "-n", NAMESPACE, "-o", "jsonpath={.status.conditions[0].message}")
    narrator.kubectl("delete", "bot", "greedy", "-n", NAMESPACE, quiet=True)


def _presented(narrator: Narrator, stack: Stack, pods: Pods) -> None:
    narrator.chapter("A pod mounts the Secret and presents the token to a server in another pod")
    selector = json.dumps({"spec": {"pods": {"selector": {"matchLabels": {"app": "consumer"}}}}})
    narrator.kubectl("patch", "podidentity", BOT, "-n", NAMESPACE, "--type=merge", "-p", selector)
    narrator.say("Selected pods are told of each change, so that the kubelet looks at once and not within 78 s.")
    pods.run(BOT)
    token_id = claims_of(_mounted(stack, "token"))["jti"]
    narrator.fact("the verifier's answer", f"200 at {clock(pods.accepted(token_id))}, for token {token_id}")


def _renewed(narrator: Narrator, stack: Stack, authority: Authority, pods: Pods | None) -> None:
    narrator.chapter("Tokens are renewed before they expire; nobody notices")
    patch = json.dumps({"spec": {"tokens": [{"name": "default", "lifetime": "15s"}]}})
    narrator.kubectl("patch", "bot", BOT, "-n", NAMESPACE, "--type=merge", "-p", patch)
    seen = [claims_of(_mounted(stack, "token"))]
    while len(seen) < 3:
        token = narrator.wait(lambda: _another(stack, seen[-1]["jti"]), "a renewed token")
        published = now()
        _require(authority.introspect(token)["active"] is True, "every mounted token is accepted")
        seen.append(claims_of(token))
        left = seen[-2]["exp"] - seen[-1]["iat"]
        narrator.fact("renewed, proven, in Vault, in the Secret", f"{seen[-1]['jti']}; the former lived {left} s more")
        if pods is not None:
            late = max(0.0, pods.accepted(seen[-1]["jti"]) - published)
            narrator.fact("  in the pod's file and accepted", f"{late:.1f} s later")
    if pods is not None:
        refused = [one for one in pods.said() if one["status"] != 200]
        _require(not refused, "no request of the pod failed meanwhile")
        narrator.fact("requests of the pod that failed meanwhile", str(len(refused)))
    patch = json.dumps({"spec": {"tokens": [{"name": "default", "lifetime": "10m"}]}})
    narrator.kubectl("patch", "bot", BOT, "-n", NAMESPACE, "--type=merge", "-p", patch, quiet=True)
    narrator.wait(lambda: _another(stack, seen[-1]["jti"]), "a token of ten minutes")


def _secret_rotated(narrator: Narrator, stack: Stack, authority: Authority) -> None:
    narrator.chapter("The bot secret changes as well: old and new are good, then the old one is ended")
    former = _client_secret(stack)
    rotation = {"spec": {"secretRotation": {"every": "720h", "overlap": "10s"}}}
    narrator.kubectl("patch", "bot", BOT, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(rotation))
    narrator.kubectl("annotate", "bot", BOT, "-n", NAMESPACE, "fedid.io/rotate=secret-1")
    fresh = narrator.wait(lambda: _another_secret(stack, former), "a new secret is mounted")
    answers = [authority.request_token(CLIENT_ID, secret).status for secret in (former, fresh)]
    narrator.fact("a token request with the old, with the new", ", ".join(map(str, answers)))
    _require(answers == [200, 200], "both are good during the overlap")
    keys = ", ".join(sorted(authority.vault(f"{VAULT}/client") or {}))
    narrator.fact(f"Vault secret/{VAULT}/client", keys)
    narrator.wait(lambda: authority.request_token(CLIENT_ID, former).status == 401, "the former secret has ended")
    answers = [authority.request_token(CLIENT_ID, secret).status for secret in (former, fresh)]
    narrator.fact("ten seconds later", ", ".join(map(str, answers)))


def _client_secret(stack: Stack) -> str:
    return _secret(stack).get("client.env", "CLIENT_SECRET=").split("CLIENT_SECRET=")[1].partition("\n")[0]


def _another_secret(stack: Stack, former: str) -> str | None:
    secret = _client_secret(stack)
    return secret if secret and secret != former else None


def _put_back(narrator: Narrator, stack: Stack, authority: Authority) -> None:
    narrator.chapter("What a hand changes is put back")
    narrator.kubectl("delete", "secret", BOT, "-n", NAMESPACE)
    narrator.wait(lambda: _secret(stack).get("token"), "the Secret is there again")
    narrator.fact("Secret site-a/trainer", "there again")
    client = authority.client(CLIENT_ID) or {}
    stack.keycloak("DELETE", f"/admin/realms/fl/clients/{client['id']}")
    narrator.say("Somebody deletes the client in Keycloak's console; the next look finds it (here: asked for by hand).")
    narrator.kubectl("annotate", "bot", BOT, "-n", NAMESPACE, "look=again", quiet=True)
    narrator.wait(lambda: authority.client(CLIENT_ID), "the client is there again")
    narrator.wait(lambda: authority.introspect(_mounted(stack, "token"))["active"], "a living token is mounted")
    narrator.fact("Keycloak client", "there again, with a living token mounted")


def _deleted(narrator: Narrator, stack: Stack, authority: Authority, pods: Pods | None) -> None:
    narrator.chapter("The bot is deleted, and the proof is told")
    token = _mounted(stack, "token")
    secret = _client_secret(stack)
    narrator.fact("before: the pod's token", f"introspection active={authority.introspect(token)['active']}")
    if pods is not None:
        pods.accepted(claims_of(token)["jti"])
    asked = now()
    narrator.kubectl("delete", "bot", BOT, "-n", NAMESPACE)
    if pods is not None:
        refused = pods.refused(asked)
        what = "the token that it still held" if refused["token"] else "an empty file"
        narrator.fact(
            "after: the pod is refused", f"{refused['status']} with {what}, {refused['at'] - asked:.1f} s later"
        )
    active = authority.introspect(token)["active"]
    refusal = authority.request_token(CLIENT_ID, secret)
    narrator.fact("after: the very same token", f"introspection active={active}, {authority.admin_api_status(token)}")
    narrator.fact("after: the bot secret", f"{refusal.status} {refusal.body['error']}")
    narrator.fact("after: Vault", "404" if authority.vault_metadata(f"{VAULT}/client") is None else "still there")
    narrator.fact("after: the mounted files", {k: v or "(empty)" for k, v in _secret(stack).items()})
    _require(not active and refusal.status == 401, "the credentials are refused")
    selector = "reason=RevocationProven"
    narrator.kubectl(
        "get", "events", "-n", NAMESPACE, "--field-selector", selector, "-o", "custom-columns=PROOF:.message"
    )


def _secret(stack: Stack) -> dict[str, str]:
    answer = stack.api("kube").answer("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/{BOT}")
    data: dict[str, Any] = (answer.body.get("data") or {}) if answer.status == 200 else {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def _mounted(stack: Stack, key: str) -> str:
    return _secret(stack)[key]


def _another(stack: Stack, token_id: str) -> str | None:
    token = _secret(stack).get("token")
    return token if token and claims_of(token)["jti"] != token_id else None


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - a truth, not a switch
    if not holds:
        message = f"it does not hold that {what}"
        raise StoryError(message)


if __name__ == "__main__":
    sys.exit(main())
