"""``trioedge new edge``: an edge that works, in Python or in TOML, its test and its page."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .skeleton import TEMPLATES, check_letters, filled, write
from .trial import environment, has_pytest, try_out


def edge(
    name: str,
    /,
    *,
    toml: Annotated[bool, Parameter(negative="")] = False,
    to: Annotated[Path, Parameter(show_default=False)] = Path(),
) -> int:
    """Write an edge that works: the folder NAME, with edge.py or edge.toml, its test, and its page.

    Its own test runs before the command says what to do next. Nothing is overwritten.

    Exit codes: 0 written, and its test passes, 1 its test fails here, 2 the name or the folder is taken.

    Args:
        name: Lower-case letters, digits and hyphens, as in shop-front.
        toml: Write edge.toml, with services.toml, instead of edge.py.
        to: The folder to write it into; the present one by default.
    """
    check_letters(name)
    folder, file = to / name, "edge.toml" if toml else "edge.py"
    write(folder, filled([TEMPLATES / "edge" / ("toml" if toml else "python")], name, {}))
    with environment() as env:
        try_out(folder, env, "-m", "trioedge", "check", file)
        says = f"trioedge check {file} passes; its test needs pytest and pytest-trio"
        if has_pytest():
            try_out(folder, env, "-m", "pytest", "-q", "-p", "no:cacheprovider")
            says = "its test passes"
    print(f"{folder} has an edge that works: {says}")
    print(f"Change {file} and its test. To use it:\n")
    print(f"trioedge check {folder}/{file}\ntrioedge run {folder}/{file}")
    return 0
