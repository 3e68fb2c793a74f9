"""Commands of the operator's own image, for the hooks of its chart: the image has no shell.

Rule of this layer: a command looks and tells, it changes nothing. It asks through the adapters that the operator uses,
as the ServiceAccount that it runs under, and returns a `Report`.
"""
