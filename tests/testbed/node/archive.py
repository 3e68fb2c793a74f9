"""Image archives as `docker save` writes them, made from a file tree without any tool."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path


def write_archive(place: Path, layer: Path, reference: str, command: Sequence[str]) -> None:
    """Write an image of one layer.

    Args:
        place: The archive to write.
        layer: A tar file, uncompressed.
        reference: Name and tag of the image.
        command: What it runs (entrypoint).
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    configuration = {
        "architecture": machine,
        "os": "linux",
        "config": {"Entrypoint": list(command), "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "fedid testbed"}],
    }
    text = json.dumps(configuration).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]
    with tarfile.open(place, "w") as archive:
        archive.add(layer, f"{digest}.tar")
        for member, content in ((name, text), ("manifest.json", json.dumps(manifest).encode())):
            _add(archive, member, content)


def write_layer(place: Path, files: dict[str, Path]) -> None:
    """Write a layer that holds some programs, by their absolute paths."""
    with tarfile.open(place, "w") as layer:
        for target, source in files.items():
            content = source.read_bytes()
            _add(layer, target.lstrip("/"), content, mode=0o755)


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))
