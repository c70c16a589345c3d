"""The operators' view of a running edge: the admin API."""
