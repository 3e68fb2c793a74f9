"""The pure core: words and decisions.

Rule of this layer: no I/O, no clock reading, no randomness, no third-party import. What a decision needs comes in as a
value (the present instant included); what it decides goes out as a value. Modules here import only each other and
`fedid.errors`.
"""
