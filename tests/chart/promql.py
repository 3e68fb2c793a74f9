"""What an expression of PromQL asks for, by a parser of its own; of Grafana's variables a value stands in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser


def asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric of an expression with the labels that it is selected or grouped by.

    Raises:
        ValueError: It is no PromQL.
    """
    tree = promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    grouped: list[set[str]] = [set()]
    found: list[tuple[str, set[str]]] = []

    def enter(node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            grouped.append(labels_of(node) | grouped[-1])
        elif isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, {matcher.name for matcher in node.matchers.matchers} | grouped[-1]))

    def leave(node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            grouped.pop()

    promql_parser.walk(tree, enter, leave)
    yield from found


def labels_of(node: Any) -> set[str]:
    """Return the labels that the series of an expression still have: those of its outermost aggregation."""
    if isinstance(node, promql_parser.AggregateExpr):
        return set(node.modifier.labels) if node.modifier is not None else set()
    if isinstance(node, promql_parser.BinaryExpr):
        return labels_of(node.lhs)
    if isinstance(node, promql_parser.Call):
        return set().union(*(labels_of(argument) for argument in node.args)) - {"le"}
    return set()


def remaining_labels(expression: str) -> set[str]:
    """Return the labels that a legend may name."""
    return labels_of(promql_parser.parse(expression.replace("$__rate_interval", "5m")))
