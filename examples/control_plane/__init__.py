"""A small control plane: Starlette on Hypercorn, SQLite below; see README.md."""
