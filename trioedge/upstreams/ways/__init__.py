"""Ways out that are named, or that lead through other proxies."""
