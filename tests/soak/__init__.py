"""`make soak`: a campaign against running edges: odd rhythms, failing system calls, floods, endurance, mutants.

`python -m tests.soak` from the root of the repository runs all of it; `--help` names the options. Only the pure
logic of this folder is collected by pytest; nothing else here runs in continuous integration. Everything stays on
loopback, and every part has its share of the minutes.

An edge under test is a process of its own (`edges`), which obeys lines of JSON on its stdin. Clients and upstreams
are drivers in the campaign's process, and HAProxy and nginx stand behind the same drivers where that makes sense.
"""
