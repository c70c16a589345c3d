"""Handshakes: a protocol a file."""
