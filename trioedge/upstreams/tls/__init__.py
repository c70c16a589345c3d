"""Upstreams that speak TLS: the handshake behind a connect."""
