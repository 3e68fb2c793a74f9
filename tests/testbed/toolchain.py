"""The compilers and runtimes that the builds need: Go, a JDK, Maven."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import StackError

GO_TOOLCHAIN = "1.26.8"
"""Go release fetched through the module proxy where the installed Go is older than 1.26."""

JVM_DIRECTORY = Path("/usr/lib/jvm")
"""Where Debian, and others after it, put JDKs."""

OLDEST_JAVA = 17
"""Keycloak 26 does not start with less."""

PREFERRED_JAVA = range(21, 26)
"""Releases that Keycloak 26 is tested with; 21 and later use the processor's cores better."""


def go_environment() -> dict[str, str]:
    """Return the environment for `go build`: static, reproducible, modules as committed.

    Raises:
        StackError: Go is not installed, or so old that its successor cannot be fetched.
    """
    go = shutil.which("go")
    if go is None:
        msg = "Go is needed to build the servers: install the Debian package `golang`."
        raise StackError(msg)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        # A go.work above the clone would replace the committed module graph.
        "GOWORK": "off",
    }
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True)
    if go_release(said.stdout) < go_release(GO_TOOLCHAIN)[:2]:
        environment["GOTOOLCHAIN"] = "local"
        _put_toolchain_first(go, environment)
    return environment


def go_release(text: str) -> tuple[int, ...]:
    """Return a Go version as numbers: `go1.26.8` is (1, 26, 8)."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else (0,)


def _put_toolchain_first(go: str, environment: dict[str, str]) -> None:
    """Fetch a newer Go as a module and put it first on PATH.

    `GOTOOLCHAIN=auto` would do it too, but only for Go 1.21 and later; as a plain
    module download it also works with the Go that Debian 12 ships.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    module = f"golang.org/toolchain@v0.0.1-go{GO_TOOLCHAIN}.linux-{machine}"
    fetched = subprocess.run(
        [go, "mod", "download", "-json", module],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**environment, "GO111MODULE": "on", "GOFLAGS": "-modcacherw"},
    )
    directory = re.search(r'"Dir": "([^"]+)"', fetched.stdout)
    if fetched.returncode or directory is None:
        msg = (
            f"The installed Go is older than 1.26 and Go {GO_TOOLCHAIN} could not be fetched "
            f"through the Go module proxy: {(fetched.stderr or fetched.stdout).strip()[-300:]}"
        )
        raise StackError(msg)
    root = Path(directory[1])
    # Module zips carry no run bits, and only Go 1.21 and later restores them here.
    for folder in (root / "bin", root / "pkg" / "tool"):
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o755)
    environment["PATH"] = f"{root / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    environment.pop("GOROOT", None)


@dataclass(frozen=True, slots=True)
class Jdk:
    """One Java runtime."""

    home: Path
    """The folder that becomes JAVA_HOME."""
    release: int
    """Feature release: 17, 21, 25."""


def java_release(release_file: str) -> int:
    """Return the feature release from the text of a JDK's `release` file, 0 if it tells none."""
    found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', release_file)
    return int(found[1]) if found else 0


def preferred_jdk(jdks: list[Jdk]) -> Jdk | None:
    """Return the JDK to run Keycloak with, None if none of them is new enough."""
    fit = [jdk for jdk in jdks if jdk.release >= OLDEST_JAVA]
    return max(fit, key=lambda jdk: (jdk.release in PREFERRED_JAVA, jdk.release), default=None)


def installed_jdk() -> Jdk:
    """Find the JDK to use: among JAVA_HOME, the one on PATH and those below JVM_DIRECTORY.

    Raises:
        StackError: There is none of release 17 or later.
    """
    homes = {path.resolve() for path in JVM_DIRECTORY.glob("*")}
    if home := os.environ.get("JAVA_HOME"):
        homes.add(Path(home).resolve())
    if java := shutil.which("java"):
        homes.add(Path(java).resolve().parent.parent)
    found = preferred_jdk(
        [
            Jdk(home, java_release((home / "release").read_text()))
            for home in sorted(homes)
            if (home / "release").is_file() and os.access(home / "bin" / "java", os.X_OK)
        ]
    )
    if found is None:
        msg = (
            f"Java {OLDEST_JAVA} or later is needed to run Keycloak: "
            "install the Debian package `openjdk-17-jdk-headless`."
        )
        raise StackError(msg)
    return found


def maven() -> str:
    """Return the path of `mvn`.

    Raises:
        StackError: Maven is not installed.
    """
    found = shutil.which("mvn")
    if found is None:
        msg = "Maven is needed to fetch Keycloak: install the Debian package `maven`."
        raise StackError(msg)
    return found
