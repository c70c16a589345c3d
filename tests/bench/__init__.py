"""`make bench`: trioedge beside HAProxy, nginx and other relays, on one core, and several workers on two.

`python -m tests.bench` from the root of the repository runs all of it; `--help` names the options. Nothing
here is collected by pytest or timed in CI: figures of a shared machine say nothing.

Two processes in C, built on the spot, stand on both sides of whatever is measured: `load/load.c`, the client,
and `load/echo.c`, the upstream. They and the proxy share one core, because across cores the wake-up of an
idle virtual CPU is larger than what is compared. Peers take turns within every round, so that a slow minute
of the machine hits all of them.

What only trioedge does (policies, devices, rates, reports) has no peer. A module each measures it, from within the
edge's own process: see `probe`.
"""
