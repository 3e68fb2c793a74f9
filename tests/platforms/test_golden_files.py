"""What a pod mounts of each platform and flavour is byte for byte what the golden files hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fedid.platforms.table import renderer
from tests.platforms.samples import IDENTITIES

GOLDEN = Path(__file__).parent / "golden"
"""`<platform>/<flavour>/case.yaml` says role, identity and options, `mounted/` is what a pod sees."""
CASES = sorted(str(path.parent.relative_to(GOLDEN)) for path in GOLDEN.glob("*/*/case.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_a_pod_mounts_the_golden_files(case: str) -> None:
    """No key more, none less, and no byte else."""
    told = yaml.safe_load((GOLDEN / case / "case.yaml").read_text(encoding="utf-8"))
    platform = case.partition("/")[0]
    rendered = renderer(platform, told["options"], told["role"])(IDENTITIES[told["identity"]])
    mounted = {path.name: path.read_bytes() for path in (GOLDEN / case / "mounted").iterdir()}
    assert {key: value.reveal().encode() for key, value in rendered.items()} == mounted
