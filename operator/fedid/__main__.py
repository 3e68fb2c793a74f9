"""Start: `python -m fedid`."""

from __future__ import annotations

import asyncio
import os
import sys

from fedid.adapters.logs import configure_logs
from fedid.errors import InvalidSpecError
from fedid.handlers.run import run
from fedid.settings import settings_from


def main() -> int:
    """Run the operator and return the exit code."""
    try:
        settings = settings_from(os.environ)
    except InvalidSpecError as error:
        print(f"fedid: {error.message}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    configure_logs(settings.log_level, settings.log_format)
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
