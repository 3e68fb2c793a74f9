"""Sidecars in memory: `Sidecars` that say what a test has them say."""

from __future__ import annotations

import asyncio

from fedid.domain.pods import Pod
from fedid.domain.reload_report import Loaded
from fedid.errors import BackendUnavailableError, Error


class FakeSidecars:
    """Answers for pods by their name; a pod that has no answer does not answer."""

    def __init__(self) -> None:
        """Start without any."""
        self.answers: dict[str, Loaded | Error] = {}
        self.asked: list[str] = []
        """Every pod that was asked, in order."""
        self.most_at_once = 0
        self._now = 0

    async def loaded(self, pod: Pod) -> Loaded:
        """Return what the pod's sidecar says."""
        self.asked.append(pod.name)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        answer = self.answers.get(pod.name)
        if isinstance(answer, Loaded):
            return answer
        message = f"does not answer at port {pod.reload_port}"
        raise answer or BackendUnavailableError(message, backend="sidecar")

    async def aclose(self) -> None:
        """Do nothing."""
