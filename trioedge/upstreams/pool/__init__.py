"""Idle connections to upstreams, made before a session needs one."""
