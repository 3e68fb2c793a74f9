"""What the stack runs, and the key under which each built binary is kept."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import StackError

GOMOD = Path(__file__).parent / "gomod"
"""The committed go.mod and go.sum of each family of tools; they say every version."""

BUILD_REVISION = "1"
"""Part of every key: raise it when the way of building changes without another flag."""


@dataclass(frozen=True, slots=True)
class GoTool:
    """One Go program of the stack."""

    name: str
    """File name of the binary."""
    family: str
    """Folder below `gomod/`: the programs of one family are built by one `go build`."""
    package: str
    """Import path of its main package."""
    module: str
    """The module whose version in go.mod is the tool's version."""
    wanted: bool = True
    """Built by default; the others only by name."""

    @property
    def variable(self) -> str:
        """Environment variable that names an existing binary to use instead."""
        return "FEDID_" + self.name.upper().replace("-", "_")

    @property
    def built_name(self) -> str:
        """File name that `go build` gives it: the last element that is no version suffix."""
        elements = [part for part in self.package.split("/") if not re.fullmatch(r"v\d+", part)]
        return elements[-1]


@dataclass(frozen=True, slots=True)
class Family:
    """Programs that share one go.mod."""

    name: str
    module: str
    """The module that gives the family its version."""
    tags: str
    """Build tags, comma-separated."""
    expected_seconds: float
    """A cold build on two cores, for the progress lines."""


KUBERNETES = "k8s.io/kubernetes"

FAMILIES = {
    family.name: family
    for family in (
        Family("kubernetes", KUBERNETES, tags="", expected_seconds=400),
        # Without `minimal` Vault compiles every cloud's plugin, for half an hour.
        Family("vault", "github.com/hashicorp/vault", tags="minimal", expected_seconds=300),
        Family("helm", "helm.sh/helm/v4", tags="", expected_seconds=160),
        Family("openfga", "github.com/openfga/openfga", tags="", expected_seconds=130),
    )
}

GO_TOOLS = {
    tool.name: tool
    for tool in (
        GoTool("etcd", "kubernetes", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
        GoTool("kube-apiserver", "kubernetes", f"{KUBERNETES}/cmd/kube-apiserver", KUBERNETES),
        GoTool(
            "kube-controller-manager",
            "kubernetes",
            f"{KUBERNETES}/cmd/kube-controller-manager",
            KUBERNETES,
        ),
        GoTool("kubectl", "kubernetes", f"{KUBERNETES}/cmd/kubectl", KUBERNETES),
        GoTool(
            "kube-scheduler",
            "kubernetes",
            f"{KUBERNETES}/cmd/kube-scheduler",
            KUBERNETES,
            wanted=False,
        ),
        GoTool("kubelet", "kubernetes", f"{KUBERNETES}/cmd/kubelet", KUBERNETES, wanted=False),
        GoTool("vault", "vault", "github.com/hashicorp/vault", "github.com/hashicorp/vault"),
        GoTool("helm", "helm", "helm.sh/helm/v4/cmd/helm", "helm.sh/helm/v4"),
        GoTool(
            "openfga",
            "openfga",
            "github.com/openfga/openfga/cmd/openfga",
            "github.com/openfga/openfga",
            wanted=False,
        ),
    )
}


def module_version(go_mod: str, module: str) -> str:
    """Return the version that a go.mod requires of a module.

    Raises:
        StackError: The go.mod does not require the module.
    """
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if found is None:
        msg = f"go.mod requires no {module}"
        raise StackError(msg)
    return found[1]


def linker_flags(family: str, version: str) -> str:
    """Return the -ldflags for a family: stripped, and for Kubernetes with its version.

    A program built outside its own release script reports v0.0.0-master, which
    clients and the version skew checks take at its word.
    """
    flags = ["-s", "-w"]
    if family == "kubernetes":
        major, minor, _ = version.removeprefix("v").split(".", 2)
        facts = {
            "gitVersion": version,
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
        }
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X {package}.{name}={value}" for name, value in facts.items()]
    return " ".join(flags)


def build_flags(family: Family, version: str) -> list[str]:
    """Return the arguments of `go build` that decide what comes out."""
    flags = ["-mod=readonly", "-trimpath", "-ldflags", linker_flags(family.name, version)]
    return [*flags, "-tags", family.tags] if family.tags else flags


def family_version(family: Family) -> str:
    """Return the version of a family's main module, from its committed go.mod."""
    return module_version((GOMOD / family.name / "go.mod").read_text(), family.module)


def content_key(*parts: str) -> str:
    """Return twelve hex digits that change when any part does."""
    digest = hashlib.sha256()
    for part in (BUILD_REVISION, *parts):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part.encode())
    return digest.hexdigest()[:12]


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where built binaries are kept: $FEDID_CACHE, else ~/.cache/fedid."""
    named = environment.get("FEDID_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "fedid"


def cached_binary(tool: GoTool, cache: Path) -> Path:
    """Return where a tool's binary is, or will be once it is built.

    The path holds the version and a key over the flags, go.mod and go.sum, so a
    changed version or flag is another file and two clones can share one cache.
    """
    family = FAMILIES[tool.family]
    directory = GOMOD / family.name
    go_mod = (directory / "go.mod").read_text()
    flags = build_flags(family, family_version(family))
    key = content_key(tool.package, *flags, go_mod, (directory / "go.sum").read_text())
    return cache / tool.name / f"{module_version(go_mod, tool.module)}-{key}" / tool.name


def named_path(variable: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the existing file or folder that an environment variable names, None if unset.

    Raises:
        StackError: The variable is set, and nothing is there.
    """
    named = environment.get(variable)
    if not named:
        return None
    path = Path(named).absolute()
    if not path.exists():
        msg = f"{variable} names {path}, which does not exist."
        raise StackError(msg)
    return path
