import attrs
import pytest

from trioedge.session.session import Session
from trioedge.telemetry.starts import Starts
from trioedge.testing import make_session


def ignore() -> None: ...


def test_a_session_is_registered_and_then_recorded() -> None:
    starts = Starts()
    reader = starts.open(ignore)
    registered: list[Session] = []
    session = make_session("192.0.2.7", service="shop", now=5.0)
    starts.recording(registered.append)(session)
    assert registered == [session]
    (start,) = reader.take(1)
    assert (start.id, start.listener, start.peer, start.source, start.service, start.started_at) == (
        session.id, session.listener, "192.0.2.7", "192.0.2.7", "shop", 5.0,
    )  # fmt: skip


def test_without_a_reader_nothing_is_put_around_the_registration() -> None:
    def register(session: Session) -> None: ...

    assert Starts().recording(register) is register


def test_a_session_that_cannot_be_registered_is_not_recorded() -> None:
    def register(session: Session) -> None:
        raise ValueError("registered already")

    starts = Starts()
    reader = starts.open(ignore)
    with pytest.raises(ValueError, match="already"):
        starts.recording(register)(make_session())
    assert reader.take(1) == []


def test_a_record_cannot_be_changed() -> None:
    starts = Starts()
    reader = starts.open(ignore)
    starts.recording(lambda session: None)(make_session())
    (start,) = reader.take(1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        start.service = "another"  # type: ignore[misc]
