"""HTTP of the admin API: from a request to an operation, and from its answer to a response."""
