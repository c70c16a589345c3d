from typing import get_type_hints

from trioedge.config import nested_shapes, plain_shapes
from trioedge.config.shape import Shape


def test_every_class_of_shapes_has_the_members_of_a_shape() -> None:
    members = {name for name in vars(Shape) if not name.startswith("_")}
    assert members == {"wants", "takes", "read", "schema"}
    for module in (plain_shapes, nested_shapes):
        for name, each in vars(module).items():
            if isinstance(each, type) and each.__module__ == module.__name__:
                assert members <= {*dir(each), *get_type_hints(each)}, name
