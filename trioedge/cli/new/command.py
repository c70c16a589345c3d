"""The commands below ``trioedge new``."""

from typing import Final

from cyclopts import App

from .edge import edge
from .plugin import plugin

app: Final = App(name="new", help="Write a plugin or an edge that works, with its test.")
app.command(plugin, sort_key=1)
app.command(edge, sort_key=2)
