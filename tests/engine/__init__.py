"""Tests of the engine, all in virtual time."""
