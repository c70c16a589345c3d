"""An ``edge.toml`` becomes edges: constructors are its schema, so a plugin has nothing to write beside its class."""
