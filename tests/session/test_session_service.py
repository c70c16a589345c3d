"""The service of a session: how a stage names it, and which names are refused."""

from typing import Any

import pytest

from tests.support.homes import Home
from trioedge.errors import quote
from trioedge.services.service import Service
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.testing import make_session

UNKNOWN = Reject(Reason.SERVICE, "no such service")
DISABLED = Reject(Reason.SERVICE, "the service is disabled")
NO_NAME = Reject(Reason.SERVICE, "a service's name has 1 to 255 letters")


def test_before_a_stage_names_one_the_service_is_the_unnamed_one_with_the_default_policy() -> None:
    session = Home().session()
    assert isinstance(session.service, Service)
    assert session.service.name == ""
    assert session.policy == session.service.policy
    assert session.policy.enabled


def test_a_name_gives_the_live_service_and_its_policy() -> None:
    home = Home()
    shop, session = home.put("shop", max_sessions=7), home.session()
    session.service = "shop"
    assert session.service is shop
    assert session.policy.max_sessions == 7
    assert session.refusal is None


def test_a_service_may_be_written_in_place_of_its_name() -> None:
    home = Home()
    shop, session = home.put("shop"), home.session()
    session.service = shop
    assert session.service is shop


def test_a_changed_policy_is_read_at_once() -> None:
    home = Home()
    session = home.session()
    home.put("shop", max_sessions=1)
    session.service = "shop"
    home.put("shop", max_sessions=2)
    assert session.policy.max_sessions == 2


def test_without_a_control_plane_a_new_name_makes_a_service() -> None:
    home = Home(governed=False)
    one, other = home.session(), home.session()
    one.service = "shop"
    other.service = "shop"
    assert one.service is other.service is home.services.get("shop")


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("missing", UNKNOWN), ("", UNKNOWN), ("x" * 100_000, UNKNOWN), ("closed", DISABLED)],
)
def test_a_name_that_may_have_no_sessions_is_a_refusal_and_no_fault(name: str, refusal: Reject) -> None:
    home = Home()
    home.put("closed", enabled=False)
    session = home.session()
    before = session.service
    session.service = name
    assert session.refusal == refusal
    assert session.service is before


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_without_a_control_plane_a_name_has_1_to_255_letters(name: str) -> None:
    session = make_session()
    session.service = name
    assert session.refusal == NO_NAME
    session.service = "x" * 255
    assert session.refusal is None


def test_a_good_name_after_a_refused_one_takes_the_refusal_back() -> None:
    home = Home()
    home.put("shop")
    session = home.session()
    session.service = "missing"
    session.service = "shop"
    assert session.refusal is None
    assert session.service.name == "shop"


def test_a_removed_service_is_refused_also_when_its_name_is_there_again() -> None:
    home = Home()
    old = home.put("shop")
    home.remove("shop")
    session = home.session()
    session.service = old
    assert session.refusal == UNKNOWN
    new = home.put("shop")
    session.service = old
    assert session.refusal == UNKNOWN
    session.service = "shop"
    assert session.service is new
    assert new.incarnation != old.incarnation


@pytest.mark.parametrize("governed", [False, True])
def test_the_service_of_another_edge_is_refused(governed: bool) -> None:
    home, other = Home(governed=governed), Home(governed=governed)
    home.put("shop")
    session = home.session()
    session.service = other.put("shop")
    assert session.refusal == UNKNOWN


def test_the_unnamed_service_may_be_written_back() -> None:
    home = Home()
    unnamed, session = home.services.unnamed, home.session()
    home.put("shop")
    session.service = "shop"
    session.service = unnamed
    assert session.service is unnamed
    assert session.refusal is None


@pytest.mark.parametrize("value", [None, 5, ["shop"], b"shop", object(), Service])
def test_a_value_that_is_neither_name_nor_service_is_refused_and_changes_nothing(value: Any) -> None:
    home = Home()
    session = home.session()
    with pytest.raises(TypeError) as refusal:
        session.service = value
    assert str(refusal.value) == f"session.service = {quote(value)} must be a service's name, or a Service"
    assert session.service is home.services.unnamed
    assert session.refusal is None


@pytest.mark.parametrize("value", ["shop", None])
def test_once_the_endpoint_has_begun_the_service_is_final(value: Any) -> None:
    home = Home(governed=False)
    session = home.session()
    session.began = True
    with pytest.raises(RuntimeError) as refusal:
        session.service = value
    assert str(refusal.value) == "session.service is final once the endpoint has begun: name it in a stage"
    assert session.service is home.services.unnamed
    assert home.services.get("shop") is None, "a refused name makes no service"


def test_a_registered_session_is_moved_in_the_registry() -> None:
    home = Home()
    shop, session = home.put("shop"), home.session(registered=True)
    session.service = "shop"
    assert home.registry.matching(service="shop") == [session]
    assert list(home.registry.each(home.services.unnamed)) == []
    assert (shop.live, home.services.unnamed.live) == (1, 0)
    home.registry.remove(session)
    assert shop.live == 0


def test_a_service_that_is_written_again_moves_nothing() -> None:
    home = Home()
    shop, session = home.put("shop"), home.session(registered=True)
    session.service = "shop"
    session.service = shop
    assert (shop.opened, shop.live) == (1, 1)


def test_a_follower_that_raises_leaves_the_session_where_it_is_found_and_removed() -> None:
    class Clumsy:
        def moved(self) -> None: ...

        def left(self) -> None:
            raise LookupError("bug")

    home = Home()
    shop, session = home.put("shop"), home.session(registered=True)
    session.follow(Clumsy())
    with pytest.raises(LookupError):
        session.service = shop
    assert home.registry.matching(service="shop") == [session]
    home.registry.remove(session)
    assert len(home.registry) == shop.live == 0


# A silent False would open gates.


def compare(session: Session) -> object:
    return session.service == "default"


def compare_the_other_way(session: Session) -> object:
    return "default" != session.service  # noqa: SIM300 - the point


def look_up_in_a_table(session: Session) -> object:
    return {"default": 1}.get(session.service)  # type: ignore[call-overload]


def look_up_in_a_set(session: Session) -> object:
    return session.service in {"default", "other"}


def look_up_in_a_list(session: Session) -> object:
    return session.service in ["other", "default"]


def match(session: Session) -> object:
    match session.service:
        case "default":
            return True
    return False


@pytest.mark.parametrize(
    "use", [compare, compare_the_other_way, look_up_in_a_table, look_up_in_a_set, look_up_in_a_list, match]
)
def test_a_service_in_place_of_its_name_raises_and_says_to_write_the_name(use: Any) -> None:
    with pytest.raises(TypeError, match=r"write \.name, as in session\.service\.name == "):
        use(make_session())


def test_a_service_is_equal_to_itself_alone() -> None:
    home = Home()
    one, other = home.put("a"), home.put("b")
    assert one == one
    assert one != other
    assert {one: 1}[one] == 1
    assert one != None  # noqa: E711 - the point


def test_the_end_of_a_session_keeps_its_service() -> None:
    session = make_session(service="shop")
    session.end(Completed())
    assert session.service.name == "shop"


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize(("name", "detail"), [("cafe", "its listener is that of another service"), ("x", "no such")])
def test_a_session_by_a_listener_keeps_its_service_and_is_refused_for_another_name(
    name: str, detail: str, registered: bool
) -> None:
    home = Home()
    shop, _ = home.put("shop"), home.put("cafe")
    session = home.session(registered=registered)
    session.service = "shop"
    assert not session.by_listener
    session.come_by_listener()
    assert session.by_listener
    session.service = "shop"
    session.service = shop
    assert session.refusal is None
    session.service = name
    assert session.refusal is not None
    assert session.refusal.reason is Reason.SERVICE
    assert session.refusal.detail.startswith(detail)
    assert session.service is shop


def test_a_stage_cannot_set_whether_a_session_came_by_a_listener() -> None:
    session = Home().session()
    with pytest.raises(AttributeError):
        session.by_listener = True  # type: ignore[misc]
