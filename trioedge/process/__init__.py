"""A process that runs an edge: signals, exit codes, limits of open files, logs."""
