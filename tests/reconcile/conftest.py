"""What several files of these tests begin with."""

from __future__ import annotations

import pytest

from tests.reconcile.federated import Federated


@pytest.fixture
def federated() -> Federated:
    """One that was not begun."""
    return Federated()
