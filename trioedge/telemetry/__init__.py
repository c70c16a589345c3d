"""What an edge tells people: log lines, counts, explanations."""
