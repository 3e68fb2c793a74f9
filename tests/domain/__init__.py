"""Tests of the pure core: values in, decisions out, no double of anything."""
