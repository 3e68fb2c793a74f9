"""Debian's packages of the node, unpacked into the cache and made to find their own libraries."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.build import building_folder, cache_lock, run_logged
from tests.testbed.errors import StackError
from tests.testbed.progress import Progress
from tests.testbed.tools import content_key

SUITE = "bookworm"
PACKAGES = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "busybox-static",
    "buildah",
    "golang-github-containers-common",
    "golang-github-containers-image",
    "debootstrap",
    "patchelf",
    # What those need and a small machine may lack.
    "libsubid4",
    "libgpgme11",
    "libassuan0",
    "libgpg-error0",
    "libdevmapper1.02.1",
    "libseccomp2",
)
DYNAMIC = ("usr/bin/buildah", "usr/sbin/runc", "usr/bin/runc")
"""Programs that need those libraries. They run others of themselves with an empty environment, so LD_LIBRARY_PATH
would be lost on the way."""
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib/aarch64-linux-gnu")
EXPECTED_SECONDS = 30.0
REVISION = "1"


@dataclass(frozen=True, slots=True)
class NodePackages:
    """The unpacked packages."""

    root: Path
    """A file tree as below `/`."""
    mirror: str
    """Where the machine's apt fetches from; for debootstrap."""

    @property
    def path(self) -> str:
        """PATH with the packages first."""
        folders = [str(self.root / folder) for folder in ("usr/bin", "usr/sbin", "bin", "sbin")]
        return os.pathsep.join([*folders, os.environ.get("PATH", "/usr/bin:/bin")])

    def program(self, name: str) -> Path:
        """Return where a program is."""
        found = [self.root / folder / name for folder in ("usr/bin", "usr/sbin", "bin")]
        return next(path for path in found if path.exists())


def ensure_packages(progress: Progress, cache: Path) -> NodePackages:
    """Return the packages, fetched and unpacked once per machine.

    Raises:
        StackError: apt could not fetch them; the message holds what it said.
    """
    key = content_key(SUITE, REVISION, *PACKAGES)
    place = cache / "node-packages" / f"{SUITE}-{key}"
    with cache_lock(progress, cache, "node-packages"):
        if not place.exists():
            with (
                progress.task(f"containerd, runc, buildah of Debian {SUITE}", EXPECTED_SECONDS),
                building_folder(cache, "node-packages") as folder,
            ):
                _fetch(progress, cache, folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                (folder / "unpacked").rename(place)
                _settle_libraries(place)
    return NodePackages(place / "root", (place / "mirror").read_text().strip())


def _fetch(progress: Progress, cache: Path, folder: Path) -> None:
    """Download with lists of our own, so that the machine's are neither needed nor changed."""
    for name in ("lists/partial", "archives/partial", "debs", "unpacked/root"):
        (folder / name).mkdir(parents=True)
    log, environment = cache / "logs" / "node-packages.log", dict(os.environ)
    options = [
        *("-o", f"Dir::State::lists={folder / 'lists'}"),
        *("-o", f"Dir::Cache={folder / 'archives'}"),
        *("-o", "Dir::Cache::pkgcache="),
        *("-o", "Dir::Cache::srcpkgcache="),
        *("-o", "APT::Sandbox::User=root"),
    ]
    run_logged(progress, ["apt-get", *options, "update"], log, environment, folder)
    run_logged(progress, ["apt-get", *options, "download", *PACKAGES], log, environment, folder / "debs")
    for package in sorted((folder / "debs").glob("*.deb")):
        run_logged(progress, ["dpkg", "-x", str(package), str(folder / "unpacked/root")], log, environment, folder)
    (folder / "unpacked/mirror").write_text(_mirror(["apt-get", *options]))


def _mirror(apt_get: Sequence[str]) -> str:
    said = subprocess.run(
        [*apt_get, "indextargets", "--format", "$(CREATED_BY) $(CODENAME) $(SITE)"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split() for line in said.stdout.splitlines()]
    found = [site for kind, *release, site in lines if kind == "Packages" and release == [SUITE]]
    if not found:
        msg = f"apt knows no mirror of Debian {SUITE}; the node's packages and base image are made from it."
        raise StackError(msg)
    return found[0]


def _settle_libraries(place: Path) -> None:
    """Write where the libraries are into the programs and libraries that need them."""
    root = place / "root"
    folders = [root / folder for folder in LIBRARIES if (root / folder).is_dir()]
    path = os.pathsep.join(map(str, folders))
    libraries = [one for folder in folders for one in folder.glob("*.so.*") if not one.is_symlink()]
    programs = [root / name for name in DYNAMIC if (root / name).exists() and not (root / name).is_symlink()]
    for one in [*libraries, *programs]:
        subprocess.run([str(root / "usr/bin/patchelf"), "--set-rpath", path, str(one)], check=True)
