"""A real node for the stack: containerd, kubelet, and images that are built here.

Everything comes from Debian's packages and the module proxy, unpacked into the cache; nothing is installed.
"""
