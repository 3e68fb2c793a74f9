"""Label selectors, as everywhere in Kubernetes.

Source: Kubernetes API, `metav1.LabelSelector`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedid.domain.fields import Body, items, section, text, text_by_name, texts
from fedid.errors import InvalidSpecError

__all__ = ["LabelSelector", "checked_selector", "parse_selector"]

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A Kubernetes label selector (`metav1.LabelSelector`)."""

    match_labels: Mapping[str, str]
    match_expressions: tuple[tuple[str, str, tuple[str, ...]], ...]
    """(key, operator, values)."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether all requirements hold; an empty selector matches everything."""
        return all(labels.get(k) == v for k, v in self.match_labels.items()) and all(
            _requirement_holds(labels, *expression) for expression in self.match_expressions
        )

    def __str__(self) -> str:
        """Return it as `kubectl get -l`, and the API server, take it; empty if everything is meant."""
        parts = [f"{k}={v}" for k, v in sorted(self.match_labels.items())]
        parts += [
            {"Exists": key, "DoesNotExist": f"!{key}"}.get(operator, f"{key} {operator.lower()} ({','.join(values)})")
            for key, operator, values in self.match_expressions
        ]
        return ",".join(parts)


def parse_selector(parent: Body, path: str) -> LabelSelector:
    """Return the selector at `path`.

    Raises:
        InvalidSpecError: It is missing, or a field of it means nothing; the message names it.
    """
    raw = section(parent, path)
    return LabelSelector(
        match_labels=text_by_name(raw, f"{path}.matchLabels"),
        match_expressions=tuple(
            (text(one, f"{where}.key"), text(one, f"{where}.operator"), texts(one, f"{where}.values"))
            for where, one in items(raw, f"{path}.matchExpressions")
        ),
    )


def checked_selector(parent: Body, path: str, empty: str) -> LabelSelector:
    """Return the selector at `path`, which must select something definite.

    Args:
        parent: Where it stands.
        path: For messages.
        empty: What an empty one would do, and what to write instead.

    Raises:
        InvalidSpecError: It is missing or empty, or a field of it means nothing; the message names it.
    """
    selector = parse_selector(parent, path)
    if not (selector.match_labels or selector.match_expressions):
        message = f"{path} is empty and {empty}"
        raise InvalidSpecError(message)
    for number, (_, operator, _) in enumerate(selector.match_expressions):
        if operator not in _OPERATORS:
            known = ", ".join(_OPERATORS)
            message = f"{path}.matchExpressions[{number}].operator is {operator!r}; write one of {known}"
            raise InvalidSpecError(message)
    return selector


def _requirement_holds(labels: Mapping[str, str], key: str, operator: str, values: tuple[str, ...]) -> bool:
    match operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False  # an operator that we do not know matches nothing: never grant by accident
