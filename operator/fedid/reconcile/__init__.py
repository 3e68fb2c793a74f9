"""Observe, plan, apply: one pass over one object.

Rule of this layer: it is the only place that orders side effects. It speaks to the world through `fedid.ports` alone,
takes every decision from `fedid.domain`, and writes a status if and only if it changed. Every step is idempotent and
can be derived again from what is observed, so a pass may be killed between any two of them.
"""
