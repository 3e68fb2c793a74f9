"""The crash matrix: every side effect of every operation, and every way in which it can be cut off."""
