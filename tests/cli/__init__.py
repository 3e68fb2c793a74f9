"""Commands of the image: what they say, and when they stop Helm."""
