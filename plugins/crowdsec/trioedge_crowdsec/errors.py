"""The error of a request to the local API."""

import trioedge as te


class LapiError(te.EdgeError):
    """The local API did not answer, or its answer is none; the message is for people and never has the key."""
