from typing import Any

import pytest

import trioedge as te
from tests.stages.governed import Governed
from tests.strategies import make_session
from trioedge.errors import ConfigurationError
from trioedge.session.session import Session
from trioedge.session.verdict import CONTINUE, Reason, Reject, Verdict
from trioedge.stages.identify import AS_NAMED, Identify
from trioedge.testing import check_decision

UNKNOWN = Reject(Reason.SERVICE, "no such service")
DISABLED = Reject(Reason.SERVICE, "the service is disabled")
ONE, OTHER = "tcp://127.0.0.1:6380", "unix:///run/edge.sock"


def bound(stage: Identify, world: Governed) -> Identify:
    stage.bind(world.context)
    return stage


def answer(stage: Identify, **changes: str) -> tuple[Verdict, str]:
    session = make_session(**changes)
    return stage.decide(session), session.service


def test_all_sessions_are_one_services_unless_said() -> None:
    world = Governed()
    world.put("default")
    world.put("shop")
    assert answer(bound(Identify(), world)) == (CONTINUE, "default")
    assert answer(bound(Identify("shop"), world), listener=OTHER) == (CONTINUE, "shop")


def test_a_listener_may_be_a_service() -> None:
    world = Governed()
    world.put("shop")
    world.put("blog")
    stage = bound(Identify({"tcp://127.0.0.1:6380": "shop", OTHER: "blog", "tcp://LocalHost:1": "shop"}), world)
    assert answer(stage, listener=ONE) == (CONTINUE, "shop")
    assert answer(stage, listener=OTHER) == (CONTINUE, "blog")
    assert answer(stage, listener="tcp://localhost:1") == (CONTINUE, "shop"), "as the edge writes it"
    assert answer(stage, listener="tcp://127.0.0.1:6381") == (UNKNOWN, "default"), "one that is not named"


def test_a_function_may_say_whose_it_is_or_nobodys() -> None:
    world = Governed()
    world.put("shop")

    def by_source(session: Session) -> str | None:
        return {"192.0.2.1": "shop", "192.0.2.2": "ghost"}.get(session.source)

    stage = bound(Identify(by_source), world)
    assert answer(stage, source="192.0.2.1") == (CONTINUE, "shop")
    assert answer(stage, source="192.0.2.2") == (UNKNOWN, "default")
    assert answer(stage, source="192.0.2.3") == (UNKNOWN, "default")


def test_who_is_unknown_or_disabled_changes_with_the_snapshot() -> None:
    world = Governed()
    stage = bound(Identify("shop"), world)
    assert answer(stage)[0] == UNKNOWN
    world.put()
    assert answer(stage)[0] is CONTINUE
    world.put(enabled=False)
    assert answer(stage) == (DISABLED, "default")
    world.put(enabled=True)
    assert answer(stage)[0] is CONTINUE
    world.remove()
    assert answer(stage)[0] == UNKNOWN


def test_without_a_control_plane_every_name_will_do() -> None:
    stage = bound(
        Identify(lambda session: session.source if session.source != "unix" else None), Governed(governed=False)
    )
    assert answer(stage, source="192.0.2.1") == (CONTINUE, "192.0.2.1")
    assert answer(stage, source="unix") == (UNKNOWN, "default")
    check_decision(stage)


def test_a_live_session_is_moved_to_its_service() -> None:
    world = Governed()
    shop = world.put()
    session = make_session()
    world.registry.add(session)
    assert bound(Identify("shop"), world).decide(session) is CONTINUE
    assert (shop.live, shop.opened) == (1, 1)
    assert bound(Identify("shop"), world).decide(session) is CONTINUE
    assert (shop.live, shop.opened) == (1, 1), "it is the same session still"


def test_it_names_the_service_and_enforces_that_it_is_enabled() -> None:
    assert Identify.provides == ("service",)
    assert Identify.enforces == ("enabled",)
    assert not hasattr(Identify(), "needs")


@pytest.mark.parametrize("by", [None, 7, ["shop"], b"shop"])
def test_what_cannot_say_a_name_is_refused(by: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a name, names by listener, or a function of a session"):
        Identify(by)


def test_a_listener_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'127\.0\.0\.1:6380' must begin with tcp://"):
        Identify({"127.0.0.1:6380": "shop"})


def test_it_prints_as_it_was_written() -> None:
    def by_source(session: te.Session) -> str:
        return session.source

    assert repr(Identify()) == "Identify('default')"
    assert repr(Identify({ONE: "shop"})) == "Identify({'tcp://127.0.0.1:6380': 'shop'})"
    assert repr(Identify(by_source)) == "Identify(by_source)"


def test_the_one_that_an_edge_puts_there_says_so() -> None:
    assert repr(Identify(AS_NAMED)) == "Identify: put here by the edge, behind the stage that names the service"
