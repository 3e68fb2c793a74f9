"""The whole operator in simulated time, against everything that can go wrong, decided by a seed.

`fedid.handlers.run` runs as in production, put together by `fedid.app.build`: the work queue, the workers, every
reconciler, limiters, breakers, the fence and the Lease. Only what it talks to is another: the servers are the fakes
that tests/contract holds to the real ones, and between them lies a network that delays, loses and refuses. Each
replica has an event loop of its own on one time line, so it can be killed between any two awaits, paused, put to
sleep and given a wrong clock, as a machine can; what it sent before arrives all the same.

A seed makes a `Story`: what users, hands and the weather do, and when. After each effect on a server the invariants
of the design are checked. `make simulate` runs many; what fails is cut down to a minimal story and printed.
"""
