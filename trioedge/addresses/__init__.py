"""Addresses: parse, classify and match them. Pure."""
