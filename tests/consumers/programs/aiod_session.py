"""AI-on-Demand's SDK, with what it finds below `$HOME/.aiod` when it is imported."""

from pathlib import Path

import aiod
from aiod.authentication import Token, get_current_user, get_token, set_token
from conversation import Answer, converse


def who() -> Answer:
    """Ask the REST API who we are."""
    user = get_current_user()
    return {"name": user.name, "roles": sorted(user.roles)}


def header() -> Answer:
    """Return what the SDK sends with a request."""
    return dict(get_token().headers)


def reload(file: str = "") -> Answer:
    """Take up the token from its file, the only way to do so without a new process."""
    set_token(Token.from_file(Path(file) if file else None))
    return {}


def refresh() -> Answer:
    """Get another access token, as if the one at hand had expired."""
    held = str(get_token())
    set_token(Token(refresh_token=held))
    get_token().headers  # noqa: B018 - a property that fetches
    return {}


def login(*, write: bool) -> Answer:
    """Log in with a device code; the address to visit is printed."""
    aiod.create_token(timeout_seconds=60, write_to_file=write)
    return {}


def invalidate() -> Answer:
    """End the session."""
    aiod.invalidate_token()
    return {}


if __name__ == "__main__":
    converse(who=who, header=header, reload=reload, login=login, refresh=refresh, invalidate=invalidate)
