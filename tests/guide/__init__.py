"""The guide is true: what it tells to type is typed, on a bare stack, and what it shows is compared."""
