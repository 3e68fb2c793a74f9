"""The images that the node runs: pause, a Debian with Python, and the operator's own.

Each is a `docker save` archive in the cache, named after what went into it.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import toolchain, tools
from tests.testbed.build import building_folder, cache_lock, run_logged
from tests.testbed.node.archive import write_archive, write_layer
from tests.testbed.node.packages import SUITE, NodePackages
from tests.testbed.paths import REPOSITORY
from tests.testbed.progress import Progress
from tests.testbed.tools import content_key

REVISION = "1"
BASE_SECONDS = 80.0
OPERATOR_SECONDS = 60.0
IN_BASE = ("python3", "python3-venv", "ca-certificates")
LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
CA_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
KEPT_BUILDS = 3
"""How many of the operator's images stay in the cache."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that can be imported into a node."""

    reference: str
    archive: Path

    @property
    def repository(self) -> str:
        """The reference without its tag."""
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        """What follows the colon."""
        return self.reference.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class NodeImages:
    """Everything that runs on the node."""

    pause: Image
    base: Image
    """Debian with python3: what test pods run, and what the operator's image is built from."""
    operator: Image


def ensure_images(progress: Progress, cache: Path, packages: NodePackages) -> NodeImages:
    """Return the images, building those that are not cached.

    Raises:
        StackError: A build failed; the message holds the end of its log.
    """
    pause = _image(cache, "pause", content_key(REVISION, *_texts(tools.GOMOD / "pause")))
    base = _image(cache, "fedid-base", content_key(REVISION, SUITE, *IN_BASE, *LEFT_OUT))
    lock = (REPOSITORY / "requirements" / "run.txt").read_text()
    key = content_key(REVISION, base.tag, *_texts(REPOSITORY / "operator" / "fedid"), lock)
    operator = _image(cache, "fedid", content_key(key, (REPOSITORY / "Dockerfile").read_text()))
    with cache_lock(progress, cache, "images"):
        if not pause.archive.exists():
            _build_pause(progress, cache, pause)
        if not base.archive.exists():
            _build_base(progress, cache, packages, base)
        if not operator.archive.exists():
            _build_operator(progress, cache, packages, base, operator)
    operator.archive.touch()
    return NodeImages(pause, base, operator)


def _image(cache: Path, name: str, key: str) -> Image:
    return Image(f"localhost/{name}:{key}", cache / "images" / f"{name}-{key}.tar")


def _texts(folder: Path) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return [f"{path.relative_to(folder)}\n{path.read_text()}" for path in files]


def _build_pause(progress: Progress, cache: Path, image: Image) -> None:
    with building_folder(cache, "images") as folder:
        command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / "pause"), "."]
        log = cache / "logs" / "pause.log"
        run_logged(progress, command, log, toolchain.go_environment(), tools.GOMOD / "pause")
        write_layer(folder / "layer.tar", {"/pause": folder / "pause"})
        _write(folder, image, folder / "layer.tar", ["/pause"])


def _build_base(progress: Progress, cache: Path, packages: NodePackages, image: Image) -> None:
    with (
        progress.task(f"a Debian {SUITE} with Python, as the base of images", BASE_SECONDS),
        building_folder(cache, "images") as folder,
    ):
        scripts = packages.root / "usr/share/debootstrap"
        environment = {**os.environ, "DEBOOTSTRAP_DIR": str(scripts), "PATH": packages.path}
        script, tree = packages.program("debootstrap"), folder / "tree"
        options = ["--variant=minbase", f"--include={','.join(IN_BASE)}", SUITE, str(tree), packages.mirror]
        log = cache / "logs" / "debootstrap.log"
        run_logged(progress, ["sh", str(script), *options], log, environment, folder)
        for name in LEFT_OUT:
            shutil.rmtree(tree / name, ignore_errors=True)
        layer = folder / "layer.tar"
        run_logged(
            progress, ["tar", "-C", str(tree), "--exclude=./dev/*", "-cf", str(layer), "."], log, environment, folder
        )
        _write(folder, image, layer, ["/bin/sh"])


def _write(folder: Path, image: Image, layer: Path, command: list[str]) -> None:
    write_archive(folder / "image.tar", layer, image.reference, command)
    image.archive.parent.mkdir(parents=True, exist_ok=True)
    (folder / "image.tar").rename(image.archive)


def _build_operator(progress: Progress, cache: Path, packages: NodePackages, base: Image, image: Image) -> None:
    """Build the Dockerfile of the clone, as a platform team does, on our base."""
    policy = packages.root / "etc/containers/policy.json"
    # Layers stay: with other sources only the last steps run again.
    store = cache / "images" / "buildah"
    options = [
        "--storage-driver=overlay",
        f"--root={store / 'storage'}",
        f"--runroot={store / 'run'}",
        f"--registries-conf={packages.root / 'etc/containers/registries.conf'}",
    ]
    buildah = [str(packages.program("buildah")), *options]
    environment, log = {**os.environ, "PATH": packages.path}, cache / "logs" / "operator-image.log"
    with (
        progress.task("the operator's image", OPERATOR_SECONDS),
        building_folder(cache, "images") as folder,
    ):
        signatures = f"--signature-policy={policy}"
        if base.reference not in _known(buildah, environment):
            pull = ["pull", "--quiet", signatures, f"docker-archive:{base.archive}"]
            run_logged(progress, [*buildah, *pull], log, environment, folder)
        build = ["bud", "--isolation=chroot", "--layers", signatures, *_trust_of_this_machine(folder)]
        arguments = ["--build-arg", f"BASE={base.reference}", "--tag", image.reference, str(REPOSITORY)]
        run_logged(progress, [*buildah, *build, *arguments], log, environment, folder)
        target = f"docker-archive:{folder / 'image.tar'}:{image.reference}"
        run_logged(progress, [*buildah, "push", signatures, image.reference, target], log, environment, folder)
        (folder / "image.tar").rename(image.archive)
    # It mounts its own folder onto itself and leaves that behind; until it goes, nobody can remove the cache.
    subprocess.run(["umount", "--lazy", str(store / "storage" / "overlay")], check=False, capture_output=True)
    builds = sorted(image.archive.parent.glob("fedid-????????????.tar"), key=lambda path: path.stat().st_mtime)
    for old in builds[:-KEPT_BUILDS]:
        old.unlink()


def _known(buildah: list[str], environment: dict[str, str]) -> str:
    command = [*buildah, "images", "--format", "{{.Name}}:{{.Tag}}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout


def _trust_of_this_machine(folder: Path) -> list[str]:
    """Return options that let pip trust whom this machine trusts: a web proxy may have an authority of its own."""
    if not CA_CERTIFICATES.exists():
        return []
    (folder / "pip.conf").write_text(f"[global]\ncert = {CA_CERTIFICATES}\n")
    mounts = {CA_CERTIFICATES: CA_CERTIFICATES, folder / "pip.conf": Path("/etc/pip.conf")}
    return [word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}:ro")]
