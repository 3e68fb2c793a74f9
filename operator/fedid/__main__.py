"""Start: `python -m fedid`, or one of its commands."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from fedid.adapters.logs import configure_logs
from fedid.cli.installation import check_installation
from fedid.cli.report import Report
from fedid.cli.uninstall import check_uninstall
from fedid.errors import InvalidSpecError
from fedid.handlers.run import run
from fedid.settings import Settings, settings_from


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator, or a command, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = settings_from(os.environ)
    except InvalidSpecError as error:
        print(f"fedid: {error.message}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    if options.command is not None:
        report = asyncio.run(_report(options, settings))
        print(report.text)  # noqa: T201 - a command talks to a person, through Helm
        return report.exit_code
    configure_logs(settings.log_level, settings.log_format)
    asyncio.run(run(settings))
    return 0


async def _report(options: argparse.Namespace, settings: Settings) -> Report:
    if options.command == "check-uninstall":
        return await check_uninstall(settings, options.release)
    return await check_installation(settings, options.operator_url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fedid", description="Without a command: run the operator. Its settings are in the environment."
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    uninstall = commands.add_parser("check-uninstall", help="say what uninstalling means; 1 if identities exist")
    uninstall.add_argument("--release", default="fedid", help="the Helm release, for the commands that are shown")
    installation = commands.add_parser("check-installation", help="say whether the installation works; 1 if not")
    installation.add_argument("--operator-url", help="where the operator serves its health; unset: it is not asked")
    return parser


if __name__ == "__main__":
    sys.exit(main())
