"""The parent of the workers: it listens, forks, watches and restarts, and has neither a loop of Trio's nor a thread."""
