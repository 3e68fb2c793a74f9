"""Rules of a Federation about the namespace `site-a`, and what they say to the asks of an identity in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedid.domain.grants import Ask, AskKind, Grant, parse_grants
from fedid.domain.judgement import Verdict, judge

TENANT = {"kubernetes.io/metadata.name": "site-a", "fedid.io/tenant": "true"}
HERE = {"names": ["site-a"]}


def grants(*rules: Mapping[str, Any]) -> tuple[Grant, ...]:
    """Return rules about `site-a`, unless a rule says whom it is about itself."""
    return parse_grants({"grants": [{"namespaces": HERE, **rule} for rule in rules]})


def judged(
    rules: tuple[Grant, ...], *asks: Ask, namespace: str = "site-a", labels: Mapping[str, str] = TENANT
) -> Verdict:
    """Return the verdict on asks of an identity in a namespace."""
    return judge(asks, rules, federation="local", namespace=namespace, labels=labels)


def realm_role(name: str) -> Ask:
    """Ask for a realm role."""
    return Ask(AskKind.REALM_ROLE, name)
