"""Tests of the layout: what must hold of the tree itself, whatever the code does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "operator"
MODULES = sorted(path for path in (SOURCE / "fedid").rglob("*.py") if "__pycache__" not in path.parts)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python at the root of the clone with nothing on its path but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=False
    )


def test_the_source_root_is_no_package() -> None:
    """`operator/` holds no module of its own, since with an `__init__.py` it would take the place of the stdlib's."""
    assert not (SOURCE / "__init__.py").exists()
    assert [path.name for path in SOURCE.glob("*.py")] == []


@pytest.mark.parametrize("path", [str(ROOT), str(SOURCE), f"{SOURCE}{os.pathsep}{ROOT}"])
def test_the_standard_library_wins(path: str) -> None:
    """With the clone, its source root, or both on the path, `operator` and what needs it are the standard library's."""
    code = "import collections, operator; print(operator.__file__); operator.itemgetter(0); collections.namedtuple"
    found = python("-c", code, PYTHONPATH=path)
    assert found.returncode == 0, found.stderr
    assert not Path(found.stdout.strip()).is_relative_to(ROOT)


def test_the_operator_is_run_by_name() -> None:
    """`python -m fedid` finds the package under the source root, and says in a sentence what it does not like."""
    found = python("-m", "fedid", PYTHONPATH=str(SOURCE), FEDID_WORKERS="0")
    assert found.returncode == 2, found.stderr
    assert found.stderr == "fedid: FEDID_WORKERS is '0'; set a whole number from 1 to 256\n"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_has_a_name_of_the_standard_library(module: Path) -> None:
    """No module and no package is named like one of the standard library, at whatever depth it lies."""
    name = module.parent.name if module.stem in {"__init__", "__main__"} else module.stem
    assert name not in sys.stdlib_module_names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_has_a_name_that_says_nothing(module: Path) -> None:
    """A module is named after one concept; a drawer for leftovers is none."""
    assert module.stem not in {"utils", "helpers", "common", "misc", "base", "manager", "service"}


def test_what_is_importable_is_fedid_alone() -> None:
    """The source root holds one package and its documentation, so that nothing else can be shadowed by it."""
    assert [path.name for path in SOURCE.iterdir() if path.is_dir() and path.name.isidentifier()] == ["fedid"]


def test_imports_go_one_way() -> None:
    """Every import contract of pyproject.toml is kept: layers, kopf in handlers only, client libraries in adapters."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    found = python("-c", code, "--no-cache", PYTHONPATH=str(SOURCE))
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


def test_the_core_needs_no_third_party() -> None:
    """Domain, platforms, ports, settings and errors load without a single package from outside."""
    code = (
        "import sys, importlib, pkgutil, fedid.domain, fedid.platforms\n"
        "for package in (fedid.domain, fedid.platforms):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "import fedid.errors, fedid.settings, fedid.ports\n"
        "top = {name.partition('.')[0] for name, module in sys.modules.items() if getattr(module, '__file__', None)}\n"
        "print(sorted(top - sys.stdlib_module_names - {'fedid', '__main__'}))\n"
    )
    found = python("-S", "-c", code, PYTHONPATH=str(SOURCE))
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"
