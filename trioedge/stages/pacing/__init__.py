"""Pacing: `pacing` is the face; everything else is private to this folder."""
