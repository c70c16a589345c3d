"""Services (tenants): their policies, what a snapshot changes, and the protocols of control planes."""
