"""``trioedge schema``: write the JSON schema of an edge.toml, installed plugins included."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from ..config.keys import keys_of
from ..config.schema import schema_of
from ..errors import ConfigurationError
from ..plugins import BUILT_IN, Kind, find, installed


def schema() -> int:
    """Write the JSON schema of an edge.toml to stdout, for an editor.

    The first line of an edge.toml says where that is, as in #:schema ./edge.schema.json. Installed plugins are imported
    for it; one that cannot be is left out, and named on stderr.
    """
    json.dump(schema_of(parts()), sys.stdout, indent=1)
    print()
    return 0


def parts() -> Mapping[Kind, Mapping[str, Any]]:
    """Return every part that a file may name, by kind and name."""
    found: dict[Kind, dict[str, Any]] = {kind: {name: find(kind, name) for name in BUILT_IN[kind]} for kind in Kind}
    for plugin in installed():
        if plugin.name in found[plugin.kind]:
            continue  # built in, or of a second package
        try:
            part = find(plugin.kind, plugin.name)
            if callable(part):
                keys_of(part)
            found[plugin.kind][plugin.name] = part
        except ConfigurationError as error:
            print("trioedge:", error, file=sys.stderr)
    return found
