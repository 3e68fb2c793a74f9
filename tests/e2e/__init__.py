"""The running product, end to end, on the real servers."""
