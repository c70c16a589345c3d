"""``trioedge new``: write a plugin or an edge that works, for its author to change.

``templates/`` has the files as they are written, each with ``.in`` behind its name. They are those of a plugin called
``my-part``, in ``trioedge_my_part``, with a class ``MyPart``; these names are replaced, and ``<<…>>`` is filled in.
"""
