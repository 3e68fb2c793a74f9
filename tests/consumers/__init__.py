"""The platforms' own software, run as fresh processes on the files that a pod would mount.

`programs/` holds what is run: scripts for the environments of `tests.testbed.python_environments`. Each reads requests
on its standard input and answers on its standard output, one JSON object per line; none imports anything of ours.
"""
