"""Property tests are about what holds, never about how fast: no deadline, whatever the machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fedid", deadline=None)
settings.load_profile("fedid")
