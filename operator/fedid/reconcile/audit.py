"""One line for every privileged side effect: for whom, what, which grant allowed it, and how it ended.

The first fields are the same in every line, and public: docs/guide/grants.md names them. Credentials are never among
the rest; what has no effect has no line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fedid.domain.conditions import reason_of
from fedid.domain.grants import Ask
from fedid.domain.judgement import Verdict
from fedid.domain.naming import ObjectKey
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError, OwnershipConflictError
from fedid.reconcile.directory import Directory

__all__ = ["DONE", "Audit"]

DONE, FAILED, UNKNOWN = "done", "failed", "unknown"
"""How a side effect ended; of an unknown one the answer was lost, and the next pass finds out."""


class Audit:
    """Tells of side effects, each by the object that asked for it."""

    def __init__(self, write: Callable[[str, Mapping[str, Any]], None], directory: Directory) -> None:
        """Write lines so.

        Args:
            write: Gets the name of the step and the fields of its line.
            directory: Knows uids and Federations of objects.
        """
        self._write = write
        self._directory = directory
        self._verdicts: dict[ObjectKey, tuple[str, Verdict]] = {}
        """By object, with its uid."""

    def note(self, key: ObjectKey, uid: str, verdict: Verdict) -> None:
        """Remember by which rules the object is allowed what follows."""
        # Without its texts: there is one for each of ten thousand objects.
        self._verdicts[key] = (uid, replace(verdict, message="", asked=()))

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept of an object that is gone."""
        self._verdicts.pop(key, None)

    def __call__(
        self,
        step: str,
        *,
        key: ObjectKey,
        federation: str | None = None,
        asks: Iterable[Ask] = (),
        result: str = DONE,
        **what: Any,
    ) -> None:
        """Tell of one side effect.

        Args:
            step: What was done, by the name of the plan's step.
            key: The object that asked for it.
            federation: Its Federation; None: as its status tells.
            asks: What exactly it gives, so that the very rules are named; none: all that the object goes by.
            result: `done`, `failed` or `unknown`.
            what: What changed; no credentials.
        """
        body = self._directory.get(key) or {"metadata": {}}
        uid = body["metadata"].get("uid")
        fields = {
            "object": str(key),
            "uid": uid,
            "federation": federation or (body.get("status") or {}).get("federation"),
            "grants": self._rules(key, uid, body, asks),
            "result": result,
        }
        self._write(
            step, {"step": step, **{name: value for name, value in fields.items() if value is not None}, **what}
        )

    @contextmanager
    def attempt(self, step: str, *, key: ObjectKey) -> Iterator[None]:
        """Tell of a step that is refused, or whose outcome is unknown; one that never reached a backend has no line.

        Raises:
            Error: Whatever the step raised.
        """
        try:
            yield
        except BackendUnavailableError as error:
            if error.outcome_unknown:
                self(step, key=key, result=UNKNOWN, reason=reason_of(error))
            raise
        except (BackendDeniedError, BackendRejectedError, OwnershipConflictError) as error:
            self(step, key=key, result=FAILED, reason=reason_of(error))
            raise

    def _rules(self, key: ObjectKey, uid: str | None, body: Mapping[str, Any], asks: Iterable[Ask]) -> list[int] | None:
        """Return the positions of the rules that allow it; None where none is needed, as at a deletion."""
        known, verdict = self._verdicts.get(key, (None, None))
        if verdict is None or known != uid or not verdict.may_exist or "deletionTimestamp" in body["metadata"]:
            return None
        named = {index for ask in asks for index in verdict.covered.get(ask, ())}
        return sorted(named) if named else list(verdict.rules)
