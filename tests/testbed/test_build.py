"""What is built, with which flags, under which key; nothing is compiled here."""

import zipfile
from pathlib import Path

import pytest

from tests.testbed import build, keycloak_build, toolchain, tools
from tests.testbed.errors import StackError
from tests.testbed.progress import Progress


def test_versions_come_from_the_committed_modules() -> None:
    """Each tool's version is the one that its family's go.mod requires."""
    versions = {
        name: tools.module_version((tools.GOMOD / tool.family / "go.mod").read_text(), tool.module)
        for name, tool in tools.GO_TOOLS.items()
    }
    assert all(version.startswith("v") for version in versions.values())
    assert versions["kubectl"] == versions["kube-apiserver"]
    assert versions["etcd"] != versions["kube-apiserver"]


def test_a_module_that_is_not_required_has_no_version() -> None:
    """A typo in the table of tools is told, not guessed around."""
    with pytest.raises(StackError, match=r"requires no example\.org/x"):
        tools.module_version("require example.org/xy v1.2.3\n", "example.org/x")


def test_every_kubernetes_module_follows_the_release() -> None:
    """The staging modules are replaced by the versions that belong to the release."""
    go_mod = (tools.GOMOD / "kubernetes" / "go.mod").read_text()
    release = tools.family_version(tools.FAMILIES["kubernetes"])
    replaced = {line.split()[-1] for line in go_mod.splitlines() if "=> k8s.io/" in line}
    assert replaced == {release.replace("v1.", "v0.", 1)}


@pytest.mark.parametrize(
    ("tool", "built"),
    [("etcd", "server"), ("vault", "vault"), ("helm", "helm"), ("kubelet", "kubelet")],
)
def test_go_names_a_program_after_its_package(tool: str, built: str) -> None:
    """`go build` ignores a version suffix of the import path when it names a program."""
    assert tools.GO_TOOLS[tool].built_name == built


def test_kubernetes_programs_report_their_release() -> None:
    """Both version packages get the release; without it they say v0.0.0-master."""
    flags = tools.linker_flags("kubernetes", "v1.36.3")
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=36" in flags
    assert tools.linker_flags("helm", "v4.3.1") == "-s -w"


def test_only_vault_is_built_with_tags() -> None:
    """The minimal tag is Vault's; nothing else gets one."""
    tagged = {name for name, family in tools.FAMILIES.items() if "-tags" in tools.build_flags(family, "v1.2.3")}
    assert tagged == {"vault"}


def test_the_key_changes_with_every_part_and_with_their_order() -> None:
    """No two different builds share a place in the cache."""
    keys = {
        tools.content_key("a", "b"),
        tools.content_key("b", "a"),
        tools.content_key("ab"),
        tools.content_key("ab", ""),
        tools.content_key("a", "b", "c"),
    }
    assert len(keys) == 5
    assert all(len(key) == 12 for key in keys)


def test_tools_of_one_family_lie_apart_in_the_cache(tmp_path: Path) -> None:
    """Each binary has its own folder with its own version and key."""
    etcd = tools.cached_binary(tools.GO_TOOLS["etcd"], tmp_path)
    kubectl = tools.cached_binary(tools.GO_TOOLS["kubectl"], tmp_path)
    assert etcd.parts[-3] == "etcd"
    assert kubectl.parts[-3] == "kubectl"
    assert etcd.parts[-2] != kubectl.parts[-2]


def test_the_cache_is_outside_the_clone_unless_told_otherwise(tmp_path: Path) -> None:
    """$FEDID_CACHE decides; the default lies in the home folder."""
    assert tools.cache_directory({"FEDID_CACHE": str(tmp_path)}) == tmp_path
    assert tools.cache_directory({}) == Path.home() / ".cache" / "fedid"


def test_an_existing_binary_can_be_named(tmp_path: Path) -> None:
    """A variable names a binary to use; one that names nothing there is an error."""
    variable = tools.GO_TOOLS["kube-apiserver"].variable
    assert variable == "FEDID_KUBE_APISERVER"
    binary = tmp_path / "kube-apiserver"
    binary.touch()
    assert tools.named_path(variable, {variable: str(binary)}) == binary
    assert tools.named_path(variable, {}) is None
    with pytest.raises(StackError, match=rf"{variable} names .* does not exist"):
        tools.named_path(variable, {variable: str(tmp_path / "gone")})


def test_a_named_keycloak_is_copied_and_never_built_in_place(tmp_path: Path) -> None:
    """The installation of somebody else stays as it is."""
    home = tmp_path / "theirs"
    for name, text in (("bin/kc.sh", "#!/bin/sh\n"), ("lib/quarkus-run.jar", ""), ("version.txt", "1.2\n")):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    cache = tmp_path / "cache"
    chosen = keycloak_build.Distribution.chosen(cache, {keycloak_build.HOME_VARIABLE: str(home)})
    assert chosen.version == "1.2"
    assert not chosen.built
    assert cache in chosen.home.parents
    assert chosen.fetch_command(tmp_path) is None
    copy = chosen.unpack(tmp_path)
    assert copy != home
    assert (copy / "bin" / "kc.sh").read_text() == "#!/bin/sh\n"


def test_a_folder_that_holds_no_keycloak_is_refused(tmp_path: Path) -> None:
    """The message names the variable and what is missing."""
    with pytest.raises(StackError, match=r"FEDID_KEYCLOAK_HOME names .* no bin/kc\.sh"):
        keycloak_build.Distribution.chosen(tmp_path, {keycloak_build.HOME_VARIABLE: str(tmp_path)})


def test_another_zip_than_the_tested_one_is_refused(tmp_path: Path) -> None:
    """What Maven brings is checked against the digest in the source."""
    chosen = keycloak_build.Distribution.chosen(tmp_path, {})
    with zipfile.ZipFile(tmp_path / f"keycloak-quarkus-dist-{keycloak_build.VERSION}.zip", "w") as archive:
        archive.writestr("keycloak/version.txt", "another")
    with pytest.raises(StackError, match="has the digest"):
        chosen.unpack(tmp_path)


@pytest.mark.parametrize(
    ("text", "release"),
    [("go1.26.8", (1, 26, 8)), ("go1.19", (1, 19)), ("devel go1.27-abcdef", (1, 27)), ("", (0,))],
)
def test_go_versions_are_compared_as_numbers(text: str, release: tuple[int, ...]) -> None:
    """1.9 is older than 1.26."""
    assert toolchain.go_release(text) == release


@pytest.mark.parametrize(
    ("text", "release"),
    [('JAVA_VERSION="17.0.15"', 17), ('JAVA_VERSION="1.8.0_402"', 8), ("IMPLEMENTOR=x", 0)],
)
def test_java_releases_are_read_from_the_release_file(text: str, release: int) -> None:
    """Java 8 called itself 1.8."""
    assert toolchain.java_release(text) == release


@pytest.mark.parametrize(
    ("releases", "chosen"),
    [([17, 25], 25), ([11, 17], 17), ([21, 27], 21), ([11], None), ([], None)],
    ids=[
        "a tested release from 21 on is preferred",
        "17 will do",
        "a release that Keycloak does not know yet is the second choice",
        "11 is too old",
        "there may be none",
    ],
)
def test_the_preferred_jdk(releases: list[int], chosen: int | None) -> None:
    """Of several JDKs the best known one runs Keycloak."""
    jdks = [toolchain.Jdk(Path(f"/jvm/{release}"), release) for release in releases]
    found = toolchain.preferred_jdk(jdks)
    assert (found.release if found else None) == chosen


def test_a_missing_tool_is_one_sentence_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody without Go, Java or Maven reads which package to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(toolchain, "JVM_DIRECTORY", tmp_path)
    for look, package in (
        (toolchain.go_environment, "golang"),
        (toolchain.installed_jdk, "openjdk-17-jdk-headless"),
        (toolchain.maven, "maven"),
    ):
        with pytest.raises(StackError, match=f"`{package}`") as told:
            look()
        assert "\n" not in str(told.value)


def test_a_failed_build_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """What the compiler said last is in the message, with the path of the rest."""
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(StackError, match=r"x\.log:\nno such package"):
        build.run_logged(Progress(lambda _line: None), ["sh", "-c", "echo no such package; exit 3"], log, {}, tmp_path)


def test_what_a_killed_build_left_behind_is_removed(tmp_path: Path) -> None:
    """A temporary folder of an earlier build of the same name goes; others stay."""
    left, other = tmp_path / ".building-vault-x", tmp_path / ".building-helm-x"
    left.mkdir()
    other.mkdir()
    with build.building_folder(tmp_path, "vault") as folder:
        assert folder.is_dir()
        assert not left.exists()
    assert not folder.exists()
    assert other.exists()
