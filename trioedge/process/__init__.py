"""What is true of a process: signals, exit codes, descriptor limits."""
