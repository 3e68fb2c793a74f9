"""The composition root: the one place that names concrete adapters and puts the operator together."""

from __future__ import annotations

from fedid.app.build import build_operator
from fedid.app.process import Operator

__all__ = ["Operator", "build_operator"]
