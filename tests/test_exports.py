import inspect

import trioedge as te
import trioedge.testing


def test_all_names_every_public_name_once() -> None:
    for module in (te, trioedge.testing):
        assert len(module.__all__) == len(set(module.__all__))  # ruff keeps it sorted
        public = {
            name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)
        }
        assert public == set(module.__all__)


def test_every_public_name_says_what_it_promises() -> None:
    for module in (te, trioedge.testing):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert inspect.getdoc(value), f"{name} has no docstring"
