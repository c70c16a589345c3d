"""Plugins: parts of an edge in installed packages, found by their entry points. Only a named plugin is imported.

A package says in its metadata which parts it has, in a group for each kind of part::

    [project.entry-points."trioedge.stages"]
    hours = "trioedge_hours:Hours"

``find(Kind.STAGE, "hours")`` then imports ``trioedge_hours`` and returns ``Hours``. The parts that ship have names in
the same way and go first, and no metadata is read for them, because that takes longer with each installed package.
"""

from .finding import find as find
from .finding import names as names
from .installed import Plugin as Plugin
from .installed import installed as installed
from .kinds import BUILT_IN as BUILT_IN
from .kinds import GROUPS as GROUPS
from .kinds import PLUGIN_NAME as PLUGIN_NAME
from .kinds import Kind as Kind
from .loading import PLUGIN_API as PLUGIN_API
from .loading import PluginError as PluginError
from .loading import is_part as is_part
from .loading import load as load
