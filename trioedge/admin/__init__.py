"""The operators' view of a running edge."""
