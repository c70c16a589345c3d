"""What several workers do: how far they scale, whether limits keep their number, what restarts and readers cost.

Each module is a probe, see `tests.bench.probe`, but for `edges` and what the others share: `families` and `holds`. Its
programs are processes of their own, on two cores: one worker shares the first core with a client and an upstream, and
of two workers each shares a core with one of each.
"""
