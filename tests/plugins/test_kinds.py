import pytest

import trioedge as te
from trioedge.plugins import BUILT_IN, Kind, find


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in Kind for name in BUILT_IN[kind]])
def test_each_name_of_a_part_that_ships_is_its_public_class(kind: Kind, name: str) -> None:
    part = find(kind, name)
    assert part.__module__.startswith("trioedge.")
    assert getattr(te, part.__name__, part) is part  # identify-by-sni is made by a method of Identify
    plain = name.replace("-", "")
    assert plain in (part.__name__.lower(), f"{part.__name__.lower().removesuffix('control')}")


def test_every_stage_that_ships_has_a_name() -> None:
    named = {value.partition(":")[2] for kind in Kind for value in BUILT_IN[kind].values()}
    recipes = {name for name in te.__all__ if getattr(getattr(te, name), "kind", "") in ("decision", "handshake")}
    assert recipes <= named
