"""The initial password of a user: what the realm asks of it, how it is made, and how it lies in Vault.

Source: Keycloak, PasswordPolicy (`<id>(<value>) and <id>(<value>)`), and the providers of its policies.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fedid.domain.conditions import Reason
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import Retention
from fedid.errors import BackendRejectedError

__all__ = [
    "PasswordMaker",
    "PasswordPolicy",
    "is_pending",
    "make_password",
    "parse_password_policy",
    "password_entry",
]

_USUAL_LENGTH: Final = 24
_SPECIAL: Final = "!#%*+-=?@_"
"""Neither letters nor digits to Keycloak, and harmless in a shell, a URL and a mail."""
_IRRELEVANT: Final = frozenset(
    {
        "hashAlgorithm",
        "hashIterations",
        "passwordHistory",
        "forceExpiredPasswordChange",
        "maxAuthAge",
        "notEmail",
        "notUsername",
        "passwordAge",
        "passwordBlacklist",
        "recoveryCodesWarningThreshold",
    }
)
"""Policies that every password made here meets, whatever they say."""
_PENDING = "pending"
CURRENT: Final = {"state": Sensitive("current")}
"""What an entry says once Keycloak has taken its password."""
PASSWORD_RETENTION: Final = Retention(max_versions=1, delete_version_after=None)
"""A password that was replaced is good for nothing."""

PasswordMaker = Callable[["PasswordPolicy", str, str | None], Sensitive]
"""Makes a password under a policy for a username and an e-mail address."""


_COUNTS: Final = {
    "length": 8,
    "maxLength": 64,
    "digits": 1,
    "lowerCase": 1,
    "upperCase": 1,
    "specialChars": 1,
}
"""Policies with a number, and what Keycloak takes where one has none."""
_KINDS: Final = {
    "digits": string.digits,
    "lowerCase": string.ascii_lowercase,
    "upperCase": string.ascii_uppercase,
    "specialChars": _SPECIAL,
}


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """What a realm asks of a password."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Number by id of the policy, such as `length` or `digits`; what is not there is not asked."""
    without_username: bool = False
    """Whether the username may not be a part of it."""
    unknown: tuple[str, ...] = ()
    """Ids of policies that cannot be judged from here; only Keycloak tells whether a password meets them."""


def parse_password_policy(text: str) -> PasswordPolicy:
    """Return a realm's `passwordPolicy`."""
    counts: dict[str, int] = {}
    unknown: set[str] = set()
    without_username = False
    for part in filter(None, (one.strip() for one in text.split(" and "))):
        name, _, value = part.partition("(")
        number = value.removesuffix(")").strip()
        if name in _COUNTS:
            counts[name] = int(number) if number.isdecimal() else _COUNTS[name]
        elif name == "notContainsUsername":
            without_username = True
        elif name not in _IRRELEVANT:
            unknown.add(name)
    return PasswordPolicy(counts, without_username, tuple(sorted(unknown)))


def make_password(
    policy: PasswordPolicy,
    username: str,
    email: str | None,
    *,
    choose: Callable[[Sequence[str]], str],
    shuffle: Callable[[list[str]], None],
) -> Sensitive:
    """Return a password that meets the policy, as random as its length allows.

    Args:
        policy: The realm's.
        username: It is another one than this, and does not contain it where the policy says so.
        email: It is another one than this.
        choose: Returns one of some characters at random.
        shuffle: Puts a list into a random order.

    Raises:
        BackendRejectedError: No password can meet the policy (reason `PasswordPolicyUnmet`).
    """
    # Without its first character, nothing contains the username.
    avoided = username[:1] if policy.without_username else ""
    kinds = {name: _without(letters, avoided) for name, letters in _KINDS.items()}
    needed = [kinds[name] for name in kinds for _ in range(policy.counts.get(name, 0))]
    least = max(len(needed), policy.counts.get("length", 0), 1)
    longest = policy.counts.get("maxLength", max(least, _USUAL_LENGTH))
    if least > longest:
        message = (
            f"no password meets the realm's password policy, which asks for at least {least} characters and takes at "
            f"most {longest}; change it in the realm, or take spec.initialPassword out"
        )
        raise BackendRejectedError(message, backend="keycloak", reason=Reason.PASSWORD_POLICY_UNMET)
    length = min(max(least, _USUAL_LENGTH), longest)
    usual = kinds["digits"] + kinds["lowerCase"] + kinds["upperCase"]
    while True:
        letters = [choose(kind) for kind in needed]
        letters += [choose(usual) for _ in range(length - len(letters))]
        shuffle(letters)
        made = "".join(letters)
        if made.lower() not in {username.lower(), (email or "").lower()}:
            return Sensitive(made)


def _without(letters: str, avoided: str) -> str:
    return "".join(letter for letter in letters if letter.lower() != avoided.lower())


def password_entry(username: str, password: Sensitive) -> dict[str, Sensitive]:
    """Return what lies in Vault of a password that Keycloak is yet to take."""
    return {
        "username": Sensitive(username),
        "password": password,
        "temporary": Sensitive("true"),
        "state": Sensitive(_PENDING),
    }


def is_pending(data: Mapping[str, Sensitive]) -> bool:
    """Tell whether an entry holds a password that nobody has seen Keycloak take."""
    return bool(data.get("password")) and data.get("state") == Sensitive(_PENDING)
