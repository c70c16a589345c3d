"""The parts of applying a snapshot: the order of snapshots, and the effect of one change."""
