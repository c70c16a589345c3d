"""The error of the parsers."""


class WireError(ValueError):
    """Bytes that are not of the protocol. Its text is short and has none of them."""
