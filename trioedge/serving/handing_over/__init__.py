"""Sessions whose source becomes known in a handshake, and that go on in the worker of their source."""
