from trioedge.testing import FakeLink

from trioedge_uniproxy.errors import PanelError
from trioedge_uniproxy.health import Health


def test_the_panel_answers_again_when_every_request_goes_well() -> None:
    link = FakeLink()
    health = Health(link)
    health.bad("user", PanelError("down"))
    health.bad("push", "lost")
    health.good("user")
    assert (link.errors, link.reaches) == (["down", "lost"], 0)
    health.good("push")
    health.good("push")
    assert link.reaches == 2


def test_a_request_that_an_older_panel_does_not_know_is_no_error() -> None:
    link = FakeLink()
    health = Health(link)
    health.bad("alive", PanelError("missing", 404))
    health.bad("status", PanelError("broken", 500))
    health.bad("push", PanelError("missing", 404))
    assert [health.lacks(what) for what in ("alive", "status", "push")] == [True, False, False]
    assert link.errors == ["broken", "missing"]
