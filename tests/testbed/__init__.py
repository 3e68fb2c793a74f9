"""The embedded stack: every real server that fedid talks to, on loopback.

`python -m tests.testbed up` builds what is missing (once, into a cache outside
the clone), starts etcd, kube-apiserver, kube-controller-manager, Vault and
Keycloak, provisions them as a platform team would, and starts the operator
under its own ServiceAccount. `down` stops and removes all of it.

Rule of the package: a server is started, stopped and recognised by its own
record (process id and start instant), everything it writes lies under one state
folder per stack, and no secret is ever an argument of a process.

How to find one's way:
    tools, toolchain, build, keycloak_build   what is built, and with what
    paths, ports, credentials, pki            what a stack is made of
    servers, process                          how the servers are run
    keycloak_realm, vault_setup, cluster      what the platform team sets up
    chart, operator_process                   how fedid itself comes in
    bringup, stack, __main__                  up and down; the API of the tests
    proxy, faults                             recording and breaking the traffic
"""
