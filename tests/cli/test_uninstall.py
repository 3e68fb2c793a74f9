"""What `check-uninstall` says for what there is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fedid.cli.uninstall import uninstall_report


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        pytest.param({"BotClient": 1}, "fedid looks after 1 BotClient, so", id="one bot"),
        pytest.param(
            {"Federation": 1, "BotClient": 0, "FederationUser": 2, "PodIdentity": 0},
            "fedid looks after 2 FederationUsers, so",
            id="users only",
        ),
        pytest.param(
            {"Federation": 1, "BotClient": 3, "FederationUser": 1, "PodIdentity": 2},
            "fedid looks after 3 BotClients, 1 FederationUser and 2 PodIdentities, so",
            id="all kinds",
        ),
    ],
)
def test_identities_stop_an_uninstallation(counts: Mapping[str, int], told: str) -> None:
    """It says how many of which kind, that nothing is revoked, both ways on, and the way back."""
    report = uninstall_report(counts, "ids", "platform")

    assert report.exit_code == 1
    assert told in report.text
    assert "Uninstalling revokes nothing." in report.text
    assert "fedid.io/revoke" in report.text
    assert "\n  kubectl delete botclients,federationusers,podidentities -A --all\n" in report.text
    assert "\n  helm uninstall ids --namespace platform --no-hooks\n" in report.text
    assert report.text.endswith("\n  helm rollback ids <revision> --namespace platform")


@pytest.mark.parametrize("counts", [{}, {"BotClient": 0, "FederationUser": 0, "PodIdentity": 0}])
def test_nothing_stops_it_where_there_is_nothing(counts: Mapping[str, int]) -> None:
    """Without identities, or without CRDs, Helm goes on."""
    report = uninstall_report(counts, "ids", "platform")

    assert report.exit_code == 0
    assert "Federation" not in report.text


def test_a_federation_alone_does_not_stop_it() -> None:
    """It holds no credential; but whoever wants to be rid of it must delete it now."""
    report = uninstall_report({"Federation": 1}, "ids", "platform")

    assert report.exit_code == 0
    assert "1 Federation will stay" in report.text
    assert "kubectl delete federations --all" in report.text
