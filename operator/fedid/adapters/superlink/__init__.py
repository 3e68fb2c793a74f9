"""A SuperLink's Control API as a `NodeRegistry`: protobuf over HTTPS, from Flower 1.37 on.

- `wire` writes and reads the three messages; `messages` knows their fields.
- `registry` is the port; `refusals` is the one place that translates what a SuperLink refuses.
"""

from __future__ import annotations

from fedid.adapters.superlink.registry import SuperLinkRegistry

__all__ = ["SuperLinkRegistry"]
