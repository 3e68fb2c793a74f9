"""Adapters: the only place that speaks to a backend, one package or module for each.

An adapter implements a port of `fedid.ports` and decides nothing: it translates values to requests, answers to values
and failures to `fedid.errors`, each at a single place. It never retries a write and never logs what it sends.
"""
