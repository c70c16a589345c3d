"""Protocols as pure functions: bytes to values and back."""
