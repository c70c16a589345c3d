"""Floor 2: where a session's bytes go."""
