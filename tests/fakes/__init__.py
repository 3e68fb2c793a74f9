"""Fakes: the ports in memory, held against the real servers by the tests in tests/contract."""
