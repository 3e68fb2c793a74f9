"""The kopf edge: watches fill the directory and the work queue, nothing more.

Rule of this layer: the only one that imports kopf. A handler decides nothing and calls no backend; kopf gives watching,
reconnecting and shutdown.
"""
