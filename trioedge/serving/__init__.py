"""From accept to the end of a session, and one run of an edge."""
