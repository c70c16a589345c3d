"""What every test lives by: real programs that are there, or a skip that names the Debian package."""

import pytest

from tests.support.programs import need


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("peer"):
        for program in marker.args:
            need(program)
