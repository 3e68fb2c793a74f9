"""Keycloak: fetched through Maven, unpacked, and built for the options we start it with."""

import hashlib
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path

from tests.testbed import toolchain, tools
from tests.testbed.errors import StackError

VERSION = "26.7.3"
"""Release of `org.keycloak:keycloak-quarkus-dist` that the stack runs."""

SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
"""Digest of that release's zip: what Maven brought must be what was tested."""

FEATURES = "client-secret-rotation,kubernetes-service-accounts"
"""Preview features that fedid can use; switched on at build time."""

EXPECTED_SECONDS = 120.0
"""Download, unpacking and `kc.sh build` on two cores."""

HOME_VARIABLE = "FEDID_KEYCLOAK_HOME"
"""Names an unpacked Keycloak to start from instead of fetching one."""

BUILD_OPTIONS = (
    "--db=dev-file",
    "--health-enabled=true",
    "--metrics-enabled=true",
    f"--features={FEATURES}",
)
"""Options that Keycloak reads only at build time."""

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8"
"""Named in full, so that Maven does not look for a newer one at every build."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One Keycloak, unpacked and built in the cache."""

    version: str
    home: Path
    """Its folder in the cache; there only when it is complete."""
    named_home: Path | None
    """An existing Keycloak to copy, None to fetch VERSION."""

    @classmethod
    def chosen(cls, cache: Path, environment: Mapping[str, str] = environ) -> "Distribution":
        """Return the distribution to run: the one that HOME_VARIABLE names, else VERSION.

        A named one is copied, never built in place: `kc.sh build` rewrites the
        installation, and it is not ours.

        Raises:
            StackError: What the variable names is no Keycloak.
        """
        named = tools.named_path(HOME_VARIABLE, environment)
        if named is None:
            key = tools.content_key(SHA256, *BUILD_OPTIONS)
            return cls(VERSION, cache / "keycloak" / f"{VERSION}-{key}", None)
        if not (named / "bin" / "kc.sh").is_file():
            msg = f"{HOME_VARIABLE} names {named}, which holds no bin/kc.sh."
            raise StackError(msg)
        version = (named / "version.txt").read_text().strip()
        jar = named / "lib" / "quarkus-run.jar"
        key = tools.content_key(str(named), version, str(jar.stat().st_mtime_ns), *BUILD_OPTIONS)
        return cls(version, cache / "keycloak" / f"named-{key}", named)

    @property
    def built(self) -> bool:
        """Whether it is ready to start."""
        return self.home.is_dir()

    def check_tools(self) -> None:
        """Fail early if something needed to fetch it is missing.

        Raises:
            StackError: Maven is not installed.
        """
        if self.named_home is None:
            toolchain.maven()

    def fetch_command(self, folder: Path) -> list[str] | None:
        """Return the command that brings the zip into a folder, None if there is none to fetch."""
        if self.named_home is not None:
            return None
        return [
            toolchain.maven(),
            "--batch-mode",
            "--no-transfer-progress",
            f"{DEPENDENCY_PLUGIN}:copy",
            f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{VERSION}:zip",
            f"-DoutputDirectory={folder}",
        ]

    def unpack(self, folder: Path) -> Path:
        """Lay out Keycloak below a folder and return its home.

        Raises:
            StackError: The zip is not the release that was tested.
        """
        if self.named_home is not None:
            return Path(shutil.copytree(self.named_home, folder / "keycloak", symlinks=True))
        archive = folder / f"keycloak-quarkus-dist-{VERSION}.zip"
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != SHA256:
            msg = f"Keycloak {VERSION} has the digest {digest}, expected {SHA256}."
            raise StackError(msg)
        with zipfile.ZipFile(archive) as content:
            for member in content.infolist():
                path = Path(content.extract(member, folder))
                mode = (member.external_attr >> 16) & 0o777
                # zipfile leaves out the run bits, and kc.sh needs its own.
                if mode and not member.is_dir():
                    path.chmod(mode)
        archive.unlink()
        return folder / f"keycloak-{VERSION}"


def build_command(home: Path) -> list[str]:
    """Return the command that builds an unpacked Keycloak for BUILD_OPTIONS."""
    return [str(home / "bin" / "kc.sh"), "build", *BUILD_OPTIONS]
