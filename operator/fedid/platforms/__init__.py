"""One renderer per platform: `render(identity, options) -> files`.

Rule of this layer: pure. A renderer turns the credential of a bot into the exact bytes that its platform reads and
knows nothing of where they come from or go to.
"""
