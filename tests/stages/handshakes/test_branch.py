import pytest

import trioedge as te
from trioedge.errors import ConfigurationError
from trioedge.stages.handshakes.branch import read_branch
from trioedge.testing import make_context, make_session


@te.handshake(provides=("service",))
def first_letter(session: te.Session) -> te.Steps:
    session.service = (yield te.Read(1)).decode()
    return te.CONTINUE


@te.decision(requires=("service", "source"))
def open_to_a(session: te.Session) -> te.Verdict:
    return te.CONTINUE if session.service.name == "a" else te.Reject(te.Reason.SERVICE, "only a")


@pytest.mark.parametrize(("letter", "verdict"), [(b"a", te.CONTINUE), (b"b", te.Reject(te.Reason.SERVICE, "only a"))])
def test_the_stages_of_a_branch_run_in_their_order(letter: bytes, verdict: te.Verdict) -> None:
    opened: list[object] = []
    branch = read_branch([first_letter, open_to_a], "x")
    script = branch.open(make_context(), opened).converse(make_session())
    assert isinstance(next(script), te.Read)
    with pytest.raises(StopIteration) as ended:
        script.send(letter)
    assert ended.value.value == verdict
    assert opened == [first_letter, open_to_a]


def test_what_a_branch_writes_before_it_reads_it_is_not_required() -> None:
    assert read_branch([first_letter, open_to_a], "x").requires == {"source"}
    assert read_branch([first_letter, open_to_a], "x").provides == ("service",)
    assert read_branch("tcp://a.test:1", "x").provides == ("destination",)
    assert read_branch([], "x").provides == ()


def test_an_order_in_which_a_stage_reads_what_a_later_one_writes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"x: stage 1 \(open_to_a\) needs the session's service before"):
        read_branch([open_to_a, first_letter], "x")
