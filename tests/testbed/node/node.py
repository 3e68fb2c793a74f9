"""The node as a whole: brought up, given its images, and removed with everything that ran on it."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.testbed.node.images import Image, NodeImages, ensure_images
from tests.testbed.node.packages import NodePackages, ensure_packages
from tests.testbed.node.servers import NAMESPACE, NodePlaces, ensure_cgroup
from tests.testbed.paths import StatePaths, write_private
from tests.testbed.progress import Progress
from tests.testbed.tools import cache_directory

SERVERS = ("service-relay", "containerd", "kube-scheduler", "kubelet")
"""Processes of a node, in an order in which they can start."""

EXTRA_TOOLS = ("kubelet", "kube-scheduler")
REMOVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Node:
    """What the node of a stack is made of."""

    packages: NodePackages
    images: NodeImages

    def save(self, paths: StatePaths) -> None:
        """Remember it, so that restarts take the same."""
        write_private(paths.node_parts, json.dumps(asdict(self), indent=1, default=str))

    @classmethod
    def load(cls, paths: StatePaths) -> "Node | None":
        """Return the node of a stack that was brought up before, None if it has none."""
        if not paths.node_parts.exists():
            return None
        stored: dict[str, Any] = json.loads(paths.node_parts.read_text())
        packages = NodePackages(Path(stored["packages"]["root"]), stored["packages"]["mirror"])
        images = {name: Image(image["reference"], Path(image["archive"])) for name, image in stored["images"].items()}
        return cls(packages, NodeImages(**images))


def ensure_node(progress: Progress) -> Node:
    """Return what a node is made of, built where it is missing.

    Raises:
        StackError: A download or a build failed.
    """
    with progress.heartbeat():
        packages = ensure_packages(progress, cache_directory())
        return Node(packages, ensure_images(progress, cache_directory(), packages))


def import_images(paths: StatePaths, node: Node, progress: Progress) -> None:
    """Give containerd, which must run, the images that it has not."""
    known = known_images(paths)
    for image in (node.images.pause, node.images.base, node.images.operator):
        if image.reference not in known:
            began = progress.elapsed_seconds
            _import(paths, node.packages, image)
            known.add(image.reference)
            write_private(paths.node_images, json.dumps(sorted(known)))
            progress.say(f"containerd: has {image.reference} after {progress.elapsed_seconds - began:.1f} s")


def known_images(paths: StatePaths) -> set[str]:
    """Return the references of the images that were imported into the node."""
    return set(json.loads(paths.node_images.read_text())) if paths.node_images.exists() else set()


def _import(paths: StatePaths, packages: NodePackages, image: Image) -> None:
    command = [str(packages.program("ctr")), "--address", str(NodePlaces(paths).socket), "--namespace", NAMESPACE]
    subprocess.run([*command, "images", "import", str(image.archive)], check=True, capture_output=True)


def prepare_cgroup(paths: StatePaths) -> None:
    """Make what the kubelet expects of the kernel."""
    ensure_cgroup(NodePlaces(paths))


def remove_node(paths: StatePaths) -> None:
    """End every container of the node, once its servers are stopped, and unmount what they mounted."""
    places = NodePlaces(paths)
    deadline = time.monotonic() + REMOVAL_SECONDS
    while (pids := [*_pids_in(places.label), *_shims(places)]) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for mount in reversed(_mounts_below(paths.node, places.runtime)):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    _remove_cgroups(places.label)
    shutil.rmtree(places.runtime, ignore_errors=True)


def _cgroups(label: str) -> list[Path]:
    base = Path("/sys/fs/cgroup")
    return [path for path in (base / label, *base.glob(f"*/{label}")) if path.is_dir()]


def _pids_in(label: str) -> list[int]:
    """Return the processes of all pods; only ours are below the stack's own cgroup."""
    found: set[int] = set()
    for group in _cgroups(label):
        for members in group.rglob("cgroup.procs"):
            with suppress(OSError):
                found |= {int(line) for line in members.read_text().split()}
    return sorted(found)


def _shims(places: NodePlaces) -> list[int]:
    """Return containerd's helpers, one for each pod; they outlive it on purpose."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if b"containerd-shim" in words[0] and str(places.socket).encode() in words:
                    found.append(int(process.name))
    return found


def _mounts_below(*roots: Path) -> list[str]:
    targets = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [one for one in targets if any(Path(one).is_relative_to(root) for root in roots)]


def _remove_cgroups(label: str) -> None:
    for group in _cgroups(label):
        for path in sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
            with suppress(OSError):
                path.rmdir()
        with suppress(OSError):
            group.rmdir()
