"""One destination that is several: which member a session goes to, and which members are well."""
