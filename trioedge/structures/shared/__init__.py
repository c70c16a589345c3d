"""Limits in memory that several processes share."""
