"""Addresses: read, classify and match them. Pure."""
