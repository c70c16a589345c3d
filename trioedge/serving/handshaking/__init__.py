"""The handshakes of clients: in the reactor, and in the task of a session."""
