import attrs
import pytest

from trioedge.services.report import Report, Usage

USAGE = Usage("shop", incarnation=1, bytes_up=2, bytes_down=3, opened=4, live=5, sources=6)


def test_equal_totals_make_equal_reports() -> None:
    assert Report("edge", "epoch", 1, (USAGE,)) == Report("edge", "epoch", 1, (attrs.evolve(USAGE),))
    assert Report("edge", "epoch", 1, (USAGE,)) != Report("edge", "epoch", 1, (attrs.evolve(USAGE, incarnation=2),))


def test_usage_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        USAGE.bytes_up = 0  # type: ignore[misc]
