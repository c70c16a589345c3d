"""The client of an edge's admin API that all commands share: which edge, HTTP, events, and what goes wrong."""
