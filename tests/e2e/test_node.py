"""On a real node: the image as it runs, files in pods, and restarts of everything while credentials rotate."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.authority import Authority, claims_of
from tests.e2e.operating import Proxies
from tests.e2e.pods import Pod, node_of
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

MEGABYTE = 1_000_000
LARGEST = 150 * MEGABYTE
"""The operator's image without its base."""

IDENTITIES = 100
MOUNTED = 10
"""How many of them a pod mounts; the others are looked at in their Secrets."""


@pytest.fixture(autouse=True)
def _node(stack: Stack) -> None:
    node_of(stack)


def test_the_image_runs_as_it_promises(stack: Stack, operator: Operator) -> None:
    """Not root, no capability, no new privileges, a read-only file system, no pip, and not much beside its base."""
    process = Path(f"/proc/{operator.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65532"] * 4
    assert status["Gid"].split() == ["65532"] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    options = {fields[4]: fields[5].split(",") for fields in mounts}
    assert "ro" in options["/"]
    assert {path for path in options if "rw" in options[path] and path.startswith("/tmp")} == {"/tmp"}  # noqa: S108
    root = process / "root"
    installers = {"pip", "ensurepip", "setuptools", "python-wheels"}
    assert not [path for path in _walk(root) if path.name in installers]
    assert os.access(root / "opt/fedid/fedid/__main__.py", os.R_OK)
    assert not [path for path in _walk(root / "opt/fedid") if path.lstat().st_mode & 0o022 and not path.is_symlink()]
    images = node_of(stack).images
    assert images.operator.archive.stat().st_size - images.base.archive.stat().st_size < LARGEST


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if f"{folder}/{name}" not in {f"{root}/proc", f"{root}/sys"}]
        yield from (Path(folder) / name for name in (*names, *files))


def test_a_renewed_token_is_in_the_file_of_a_pod_and_goes_with_its_bot(tenant: Tenant, authority: Authority) -> None:
    """The pod reads what was mounted, sees two renewals without a restart, and nothing once the bot is deleted."""
    tenant.apply(
        bot("trainer", tokens=[{"name": "default", "lifetime": "30s"}]),
        pod_identity("trainer", pods={"selector": {"matchLabels": {"app": "trainer"}}}),
    )
    tenant.ready("PodIdentity", "trainer")
    look = (
        "import time, json\n"
        "last = None\n"
        "while True:\n"
        "    text = open('/credentials/trainer/token').read()\n"
        "    if text != last: print(json.dumps({'length': len(text), 'at': time.time()}), flush=True)\n"
        "    last = text\n"
        "    time.sleep(0.05)\n"
    )
    pod = Pod.run(tenant, "trainer", "trainer", command=["python3", "-c", look])
    file = pod.file("trainer", "token")
    seen = [file.read_text()]
    while len(seen) < 3:
        token = eventually(lambda: (text := file.read_text()) != seen[-1] and text, "another token in the file")
        assert authority.introspect(token)["active"] is True
        seen.append(token)
    assert pod.status()["containerStatuses"][0]["restartCount"] == 0
    status = (tenant.get("PodIdentity", "trainer") or {})["status"]["pods"]
    assert (status["selected"], status["mounting"]) == (1, 1)
    tenant.delete("BotClient", "trainer")
    eventually(lambda: not file.read_text(), "the file in the pod is empty")
    # The Secret is emptied while the client is switched off: either may come first.
    eventually(lambda: authority.introspect(seen[-1])["active"] is False, "the token in it is dead")
    eventually(lambda: pod.lines()[-1]["length"] == 0, "the program in the pod sees it too")
    assert len([line for line in pod.lines() if line["length"]]) >= 3


def test_restarts_of_everything_while_a_hundred_identities_rotate(
    stack: Stack, tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies
) -> None:
    """Operator pod killed, kubelet restarted, API server restarted: no mounted file ever holds a dead token."""
    del proxies
    names = [f"bot-{number}" for number in range(IDENTITIES)]
    selector = {"pods": {"selector": {"matchLabels": {"app": "consumer"}}}}
    tenant.apply(*(bot(name, tokens=[{"name": "default", "lifetime": "90s"}]) for name in names))
    tenant.apply(*(pod_identity(name, **(selector if name in names[:MOUNTED] else {})) for name in names))
    for name in names:
        tenant.ready("PodIdentity", name, seconds=180)
    pod = Pod.run(tenant, "consumer", *names[:MOUNTED], labels={"app": "consumer"})
    files = {name: pod.file(name, "token") for name in names[:MOUNTED]}
    first = {name: file.read_text() for name, file in files.items()}
    with _watched(files, authority) as found:
        operator.kill()
        operator.start(wait=False)
        stack.stop("kubelet")
        stack.start("kubelet")
        operator.wait_ready()
        stack.kill("kube-apiserver")
        stack.start("kube-apiserver")
        for name, file in files.items():
            eventually(lambda f=file, n=name: f.read_text() != first[n], f"{name} rotated", seconds=150)
        for name in names:
            eventually(lambda n=name: _fresh(tenant, n), f"{name} holds a fresh token", seconds=120)
    assert found.looks > IDENTITIES
    assert not found.dead
    assert pod.status()["containerStatuses"][0]["restartCount"] == 0


class _Found:
    """What a watcher of mounted files has seen."""

    def __init__(self) -> None:
        self.looks = 0
        self.dead: list[str] = []


@contextmanager
def _watched(files: dict[str, Path], authority: Authority) -> Iterator[_Found]:
    """Present every mounted token again and again, as its verifier does."""
    found, ended = _Found(), threading.Event()

    def present(name: str, file: Path) -> None:
        token = file.read_text()
        if not authority.introspect(token)["active"] and file.read_text() == token:
            left = claims_of(token)["exp"] - time.time()
            found.dead.append(f"{name}: expires in {left:.1f} s")
        found.looks += 1

    def watch() -> None:
        with ThreadPoolExecutor(2) as pool:
            while not ended.wait(0.3):
                list(pool.map(present, files, files.values()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _fresh(tenant: Tenant, name: str) -> bool:
    token = ((tenant.secret(name) or {}).get("text") or {}).get("token")
    return bool(token) and claims_of(token)["exp"] - time.time() > 20
