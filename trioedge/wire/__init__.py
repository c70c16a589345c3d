"""Parsers of protocols: bytes to values, and values to bytes. They neither read nor wait."""
