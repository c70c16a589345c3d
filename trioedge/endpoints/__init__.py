"""Endpoints: where a chain ends."""
