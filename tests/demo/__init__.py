"""`make demo`: the whole story on real servers, printed so that it can be read."""
