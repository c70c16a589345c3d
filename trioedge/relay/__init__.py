"""Bytes between two ends. Knows neither services nor stages."""
