"""What several workers do: how far they scale, whether limits keep their number, what restarts and readers cost.

Each module is a probe, see `tests.bench.probe`, but for `edges` and what the others share: `families` and `holds`. Its
programs are processes of their own, on all cores of the machine. It is written for two cores: what is compared with two
workers has a client and an upstream on each core, and one worker shares the first core with one of each.
"""
