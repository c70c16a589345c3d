"""Commands that ask a serving edge over its admin API."""
