"""How much and how long a service may be used: its quota and its expiry."""
