"""As much of the Prometheus operator's CRDs as the chart uses, closed, so that strict validation finds a wrong field.

Source: https://prometheus-operator.dev/docs/api-reference/api/ (`monitoring.coreos.com/v1`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}


def _object(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
_SPECS = {
    "ServiceMonitor": _object(
        ("selector", "endpoints"),
        selector=_object(matchLabels=TEXTS),
        endpoints=_list(_object(port=TEXT, path=TEXT, interval=_DURATION)),
    ),
    "PrometheusRule": _object(
        groups=_list(
            _object(
                ("name",),
                name={"type": "string", "minLength": 1},
                rules=_list(
                    _object(
                        ("expr",),
                        **{"alert": TEXT, "expr": TEXT, "for": _DURATION, "labels": TEXTS, "annotations": TEXTS},
                    )
                ),
            )
        )
    ),
}


def prometheus_crds() -> list[Mapping[str, Any]]:
    """Return the definitions of ServiceMonitor and PrometheusRule."""
    return [_definition(kind, spec) for kind, spec in _SPECS.items()]


def _definition(kind: str, spec: Schema) -> Mapping[str, Any]:
    plural = f"{kind.lower()}s"
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object(("spec",), spec=spec)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [version],
        },
    }
