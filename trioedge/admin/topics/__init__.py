"""The topics of the admin API: what one process answers, how the answers of several are one, and the answer's shape."""
