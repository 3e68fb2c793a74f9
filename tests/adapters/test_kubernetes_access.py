"""Ways in: kubeconfigs, a pod's ServiceAccount, tokens that are replaced while we run, and kopf beside us."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest
from aiohttp import web

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import ClusterAccess, KubernetesCluster, load_cluster_access
from fedid.adapters.kubernetes.credential import FixedCredential
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError
from tests.adapters.kubernetes_parts import (
    Account,
    account_with,
    administrator,
    forget_account,
    namespace_of_its_own,
    opened,
    write_kubeconfig,
)
from tests.testbed.ports import free_port
from tests.testbed.stack import Stack

ALL_BOTS = [{"apiGroups": ["fedid.io"], "resources": ["botclients"], "verbs": ["get", "list", "watch"]}]


@pytest.fixture
def account(stack: Stack) -> Iterator[Account]:
    """Yield an account that may look at the bots of a namespace of its own."""
    with namespace_of_its_own(stack) as namespace:
        account = account_with(stack, namespace, ALL_BOTS)
        yield account
        forget_account(account)


async def may_look(access: ClusterAccess, namespace: str) -> bool:
    """Tell whether the API server lets us look at the bots of a namespace."""
    cluster = KubernetesCluster(access, SystemClock())
    try:
        return await cluster.read("BotClient", namespace, "none") is None
    except BackendDeniedError:
        return False
    finally:
        await cluster.aclose()


async def test_a_token_in_the_kubeconfig(stack: Stack, account: Account, tmp_path: Path) -> None:
    """A kubeconfig that holds its token, with the namespace of its context left to `default`."""
    path = write_kubeconfig(stack, tmp_path / "config", {"token": account.token()})
    async with opened(path) as access:
        assert await may_look(access, account.namespace)
        assert (access.server, access.namespace) == (stack.apiserver_url, "default")


async def test_a_token_file_beside_the_kubeconfig(stack: Stack, account: Account, tmp_path: Path) -> None:
    """`tokenFile` is relative to the kubeconfig, wins over a token, and is read afresh for each request."""
    path = write_kubeconfig(stack, tmp_path / "config", {"tokenFile": "token", "token": "stale"})
    (tmp_path / "token").write_text("not-yet-a-token\n")
    async with opened(path) as access:
        assert not await may_look(access, account.namespace)

        (tmp_path / "token").write_text(account.token() + "\n")

        assert await may_look(access, account.namespace)


async def test_a_token_file_that_is_gone_for_a_moment(
    stack: Stack, account: Account, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the file cannot be read the last token goes on to serve, and the log says so without it."""
    token = account.token()
    path = write_kubeconfig(stack, tmp_path / "config", {"tokenFile": str(tmp_path / "token")})
    (tmp_path / "token").write_text(token)
    async with opened(path) as access:
        (tmp_path / "token").unlink()
        with caplog.at_level(logging.WARNING):
            assert await may_look(access, account.namespace)

    assert "going on with the token read before" in caplog.text
    assert token not in caplog.text


async def test_an_exec_plugin(stack: Stack, account: Account, tmp_path: Path) -> None:
    """A command that makes tokens is asked again only when its last one is about to end."""
    answers, runs = tmp_path / "answers", tmp_path / "runs"
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"open({str(runs)!r}, 'a').write('x'); print(open({str(answers)!r}).read())")
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(plugin)],
            "interactiveMode": "Never",
        }
    }

    def answer_with(token: str, lifetime: timedelta) -> None:
        ends = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"token": token, "expirationTimestamp": ends}
        answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
        answers.write_text(json.dumps(answer))

    answer_with(account.token(), timedelta(seconds=20))
    async with opened(write_kubeconfig(stack, tmp_path / "config", user)) as access:
        runs.unlink()
        assert await may_look(access, account.namespace)
        answer_with(account.token(), timedelta(hours=1))
        assert await asyncio.gather(*(may_look(access, account.namespace) for _ in range(5))) == [True] * 5
        assert runs.read_text() == "xx"

        assert await may_look(access, account.namespace)
        assert runs.read_text() == "xx"


async def test_an_exec_plugin_that_fails_later(stack: Stack, account: Account, tmp_path: Path) -> None:
    """Without a new token the old one goes on, until the API server refuses it."""
    flag = tmp_path / "fail"
    token = account.token()
    status = {"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"}
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        f"import os, sys; sys.exit(3) if os.path.exists({str(flag)!r}) else print({json.dumps(answer)!r})"
    )
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(plugin)]}
    async with opened(write_kubeconfig(stack, tmp_path / "config", {"exec": command})) as access:
        assert await may_look(access, account.namespace)
        flag.touch()
        assert await may_look(access, account.namespace)


async def test_a_pod(stack: Stack, account: Account, tmp_path: Path) -> None:
    """In a pod the ServiceAccount's files are all that is needed; the namespace is the pod's."""
    (tmp_path / "token").write_text(account.token())
    (tmp_path / "ca.crt").write_text(stack.paths.ca_certificate.read_text())
    (tmp_path / "namespace").write_text(account.namespace)
    host, _, port = stack.apiserver_url.removeprefix("https://").partition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "KUBECONFIG": "/absent"}
    access = await load_cluster_access(environ=environ, service_account=tmp_path)

    assert await may_look(access, account.namespace)
    assert access.namespace == account.namespace
    (tmp_path / "token").write_text("replaced-by-nonsense")
    assert not await may_look(access, account.namespace)
    await access.aclose()


async def test_the_environment_names_the_kubeconfig(stack: Stack, tmp_path: Path) -> None:
    """Outside of a pod `$KUBECONFIG` is taken; a namespace given wins over the context's."""
    path = write_kubeconfig(stack, tmp_path / "config", administrator(stack))
    config = json.loads(Path(path).read_text())  # noqa: ASYNC240 - a test may block
    config["contexts"][0]["context"]["namespace"] = "of-the-context"
    Path(path).write_text(json.dumps(config))  # noqa: ASYNC240 - a test may block
    for namespace, expected in ((None, "of-the-context"), ("given", "given")):
        access = await load_cluster_access(
            environ={"KUBECONFIG": path}, namespace=namespace, service_account=tmp_path / "absent"
        )
        assert access.namespace == expected
        await access.aclose()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{}", id="without anything"),
        pytest.param("current-context: x\ncontexts: []\nclusters: []\nusers: []", id="without its context"),
        pytest.param("users: [{name: u, user: {token: t0ken-in-file}}]\ncurrent-context: [", id="no YAML"),
        pytest.param(
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: /absent}}]\n"
            "users: [{name: u, user: {token: t0ken-in-file}}]",
            id="a CA that is not there",
        ),
        pytest.param(
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
            "clusters: [{nam: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
            "users: [{nam: u, user: {token: t0ken-in-file}}]",
            id="entries without a name",
        ),
        pytest.param(
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
            "users: [{name: u, usr: {token: t0ken-in-file}}]",
            id="a user without its section",
        ),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with it, the message says where to look and shows nothing of what is in it."""
    (tmp_path / "config").write_text(text)

    with pytest.raises(BackendDeniedError, match="no access to the cluster in the kubeconfig") as caught:
        await load_cluster_access(kubeconfig=str(tmp_path / "config"))

    assert "t0ken-in-file" not in "".join(traceback.format_exception(caught.value))


@asynccontextmanager
async def listening(handler: Any) -> AsyncIterator[str]:
    """Yield the URL of a server that answers with the handler."""
    server = web.Server(handler, access_log=None)
    port = free_port()
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}"
    listener.close()
    await server.shutdown(1)


async def test_the_credential_goes_nowhere_else() -> None:
    """A session shows the token to the API server only, not to where a redirect or a mistake leads."""
    seen: list[str | None] = []

    async def note(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    async with listening(note) as elsewhere:

        async def redirect(request: web.BaseRequest) -> web.Response:
            seen.append(request.headers.get("Authorization"))
            return web.Response(status=307, headers={"Location": elsewhere})

        async with listening(redirect) as server:
            access = ClusterAccess(server, "default", FixedCredential(Sensitive("Bearer t")))
            async with access.open_session() as session:
                await session.get(f"{server}/api")
                await session.get(f"{elsewhere}/api")
            await access.aclose()

    assert seen == ["Bearer t", None, None]


async def test_connections_are_bounded() -> None:
    """However many requests are made, over however many sessions, no more connections are open than allowed."""
    open_now, most = 0, 0

    async def slow(_request: web.BaseRequest) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        return web.json_response({})

    async with listening(slow) as server:
        access = ClusterAccess(server, "default", FixedCredential(None), connections=4)
        async with access.open_session() as ours, access.open_session() as kopfs:
            sessions = [ours, kopfs] * 20
            await asyncio.gather(*(session.get(f"{server}/api") for session in sessions))
        await access.aclose()

    assert most == 4


async def test_closing_one_session_leaves_the_others(stack: Stack, tmp_path: Path) -> None:
    """A session that kopf closes after a 401 takes neither ours nor its next one along."""
    async with opened(write_kubeconfig(stack, tmp_path / "config", administrator(stack))) as access:
        ours, kopfs = access.open_session(), access.open_session()
        async with kopfs.get(f"{access.server}/version") as answer:
            assert answer.status == 200
        await kopfs.close()

        for session in (ours, access.open_session()):
            async with session.get(f"{access.server}/version") as answer:
                assert answer.status == 200
            await session.close()


async def test_kopf_goes_on_when_the_token_is_replaced(stack: Stack, account: Account, tmp_path: Path) -> None:
    """A token that is replaced and revoked costs no event, neither ours nor of kopf, which watches through our pool."""
    kept = {"kind": "Secret", "apiVersion": "v1", "name": "keeps-token"}
    folder = f"/api/v1/namespaces/{account.namespace}/secrets"
    uid = stack.kube("POST", folder, {"metadata": {"name": kept["name"]}})["metadata"]["uid"]
    first = account.token(boundObjectRef={**kept, "uid": uid})
    (tmp_path / "token").write_text(first)
    path = write_kubeconfig(stack, tmp_path / "config", {"tokenFile": "token"})
    bots = f"/apis/fedid.io/v1alpha1/namespaces/{account.namespace}/botclients"
    seen: asyncio.Queue[str] = asyncio.Queue()
    logins: list[aiohttp.ClientSession] = []

    async with opened(path) as access:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            logins.append(access.open_session())
            return kopf.AiohttpSession(server=access.server, aiohttp_session=logins[-1])

        @kopf.on.event("fedid.io", "v1alpha1", "botclients", registry=registry)
        async def changed(name: str, **_: Any) -> None:
            seen.put_nowait(name)

        settings = kopf.OperatorSettings()
        settings.scanning.disabled = True
        settings.watching.server_timeout = 1
        stop = asyncio.Event()
        kopf_task = asyncio.create_task(
            kopf.operator(registry=registry, settings=settings, namespaces=[account.namespace], stop_flag=stop)
        )
        stack.kube(
            "POST",
            bots,
            {"apiVersion": "fedid.io/v1alpha1", "kind": "BotClient", "metadata": {"name": "one"}, "spec": {}},
        )
        assert await asyncio.wait_for(seen.get(), 20) == "one"

        (tmp_path / "token").write_text(account.token())
        stack.kube("DELETE", f"{folder}/{kept['name']}")
        # The API server caches a good token for 10 s; kopf's watch begins anew each second.
        await asyncio.sleep(11)
        stack.kube(
            "POST",
            bots,
            {"apiVersion": "fedid.io/v1alpha1", "kind": "BotClient", "metadata": {"name": "two"}, "spec": {}},
        )
        names = set()
        while "two" not in names:
            names.add(await asyncio.wait_for(seen.get(), 20))

        assert await may_look(access, account.namespace)
        assert len(logins) == 1
        stop.set()
        await asyncio.wait_for(kopf_task, 20)
        assert await may_look(access, account.namespace)
