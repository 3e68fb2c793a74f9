"""Which Python an environment of the platforms is made with, and under which key; nothing is installed here."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.testbed.python_environments import BITFOUNT, ENVIRONMENTS, PLATFORMS, REQUIREMENTS, missing_release


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=lambda environment: environment.name)
def test_every_package_is_locked_with_its_hashes(environment: object) -> None:
    """What pip brings is what was locked, from whichever registry: no package without a hash, no address of one."""
    for lock in getattr(environment, "locks", ()):
        text = (REQUIREMENTS / lock).read_text()
        packages = re.findall(r"^\S+==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE)
        assert len(packages) == len(re.findall(r"^[^\s#]", text, re.MULTILINE)) > 0
        assert "://" not in text


def test_the_platforms_are_those_of_the_contracts() -> None:
    """The versions that the contracts were read from, and no later ones."""
    lock = (REQUIREMENTS / "platforms.txt").read_text()
    for package in ("ai4flwr==0.2.0", "aiondemand==0.3.1", "driverlessai==2.5.1.1", "flwr==1.41.0"):
        assert f"\n{package} " in f"\n{lock}", package


def test_another_python_or_another_lock_is_another_environment() -> None:
    """So that a cache that two clones share never gives one the packages of the other."""
    keys = {PLATFORMS.key("/usr/bin/python3.11"), PLATFORMS.key("/usr/bin/python3.13"), BITFOUNT.key("/usr/bin/python")}
    assert len(keys) == 3


def test_a_missing_python_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine without the one release that fits, a sentence says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("FEDID_PYTHON312", raising=False)
    told = missing_release(replace(BITFOUNT, release=(3, 99))) or ""
    assert "bitfount needs Python 3.99" in told
    assert "FEDID_PYTHON399" in told
    assert missing_release(PLATFORMS) is None
