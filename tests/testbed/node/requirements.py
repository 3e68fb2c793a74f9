"""Whether a node can run here."""

import os
import shutil
from pathlib import Path

from tests.testbed.errors import StackError

CGROUP = Path("/sys/fs/cgroup")
NEEDED_CONTROLLERS = ("cpu", "memory", "pids")


def node_wanted() -> bool:
    """Tell whether the stack shall have a node: not with `NODE=0`.

    Raises:
        StackError: NODE=1 asks for one, and it cannot run here.
    """
    wish = os.environ.get("NODE", "")
    if wish == "0":
        return False
    problem = node_problem()
    if problem is not None and wish:
        raise StackError(problem)
    return problem is None


def node_problem() -> str | None:
    """Return what is missing for a node, in one sentence; None if nothing is."""
    if os.geteuid() != 0:
        return "No node: containerd and kubelet need root; run as root, or with NODE=0."
    if not _cgroups_writable():
        return f"No node: {CGROUP} is not writable, or lacks {', '.join(NEEDED_CONTROLLERS)}; kubelet keeps pods there."
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return "No node: apt-get and dpkg fetch and unpack containerd; this is no Debian."
    if "overlay" not in Path("/proc/filesystems").read_text() and not Path("/sys/module/overlay").exists():
        return "No node: the kernel has no overlay file system, which images are mounted with."
    return None


def _cgroups_writable() -> bool:
    if (CGROUP / "cgroup.controllers").exists():  # v2
        controllers = (CGROUP / "cgroup.controllers").read_text().split()
        return {*NEEDED_CONTROLLERS} <= {*controllers} and os.access(CGROUP / "cgroup.procs", os.W_OK)
    return all(os.access(CGROUP / name, os.W_OK) and (CGROUP / name / "tasks").exists() for name in NEEDED_CONTROLLERS)
