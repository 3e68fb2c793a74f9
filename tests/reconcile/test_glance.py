"""What `kubectl get bots` shows of a bot."""

from __future__ import annotations

from typing import Any

import yaml

from fedid.domain.resources import BOT_CLIENT
from tests.crds.manifests import CRDS
from tests.reconcile.small_operator import NAMESPACE, SmallOperator


def want(operator: SmallOperator, **spec: Any) -> None:
    """Apply the bot."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec)


async def test_the_first_instant_of_all_credentials_counts() -> None:
    """The token that was minted first, though it is not the first of the list; and it moves on with each renewal."""
    operator = SmallOperator()
    want(operator, tokens=[{"name": "z"}])
    await operator.advance(60)
    want(operator, tokens=[{"name": "a"}, {"name": "z"}])
    await operator.settle()
    status = operator.status(BOT_CLIENT, "trainer")
    young, old = status["tokens"]
    assert young["expiresAt"] > old["expiresAt"] == status["tokenExpiresAt"]
    assert young["nextRotationAt"] >= old["nextRotationAt"] == status["nextRotationAt"]
    await operator.advance(600)
    later = operator.status(BOT_CLIENT, "trainer")
    assert later["tokenExpiresAt"] > status["tokenExpiresAt"]
    assert later["nextRotationAt"] > status["nextRotationAt"]


async def test_without_a_token_there_is_nothing_to_show() -> None:
    """Neither for a bot that mints itself, nor for one that is suspended."""
    operator = SmallOperator()
    want(operator, tokens=[{"name": "default"}])
    await operator.advance(5)
    assert "tokenExpiresAt" in operator.status(BOT_CLIENT, "trainer")
    want(operator, tokens=[])
    await operator.advance(5)
    assert not {"tokenExpiresAt", "nextRotationAt"} & operator.status(BOT_CLIENT, "trainer").keys()
    want(operator, tokens=[{"name": "default"}])
    await operator.advance(5)
    want(operator, tokens=[{"name": "default"}], suspend=True)
    await operator.advance(5)
    assert not {"tokenExpiresAt", "nextRotationAt"} & operator.status(BOT_CLIENT, "trainer").keys()


def test_the_columns_show_fields_that_are_written() -> None:
    """In this order; instants to come as texts, since kubectl shows a date as an age."""
    (version,) = yaml.safe_load((CRDS / "fedid.io_botclients.yaml").read_text())["spec"]["versions"]
    columns = [(one["name"], one["type"], one["jsonPath"]) for one in version["additionalPrinterColumns"]]
    assert [name for name, _, _ in columns if name != "Expires"] == [
        "Client ID",
        "Ready",
        "Reason",
        "Token expires",
        "Next rotation",
        "Age",
    ]
    assert ("Token expires", "string", ".status.tokenExpiresAt") in columns
    assert ("Next rotation", "string", ".status.nextRotationAt") in columns
