import pytest

from tests.support.paced import whole_slices


@pytest.fixture
def _fast_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tick fits into one slice."""
    whole_slices(monkeypatch)
