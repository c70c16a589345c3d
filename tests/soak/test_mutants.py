"""The modules that are mutated: their files and tests are where the campaign looks for them."""

import pytest

from tests.bench.processes import ROOT
from tests.soak.mutants import MODULES, choose, equivalents, own_tests


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_its_files_and_tests(module: str) -> None:
    assert [name for name in MODULES[module] if not (ROOT / "trioedge" / name).exists()] == []
    assert own_tests(module)


def test_a_choice_has_as_many_of_each_module_and_is_the_same_for_a_seed() -> None:
    modules = ("shares", "report")
    chosen = choose(modules, 6, 1)
    assert [sum(each == module for each, _, _ in chosen) for module in modules] == [3, 3]
    assert chosen == choose(modules, 6, 1)


def test_every_equivalent_names_a_file_of_a_module() -> None:
    files = {f"trioedge/{name}" for names in MODULES.values() for name in names}
    assert {path for path, *_ in equivalents()} <= files
