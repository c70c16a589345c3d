"""One service: its identity, its settings, and settings for the length of a block."""

from weakref import ref

import attrs
import pytest

from tests.support.services import Tenants
from tests.support.shared_memory import make_limits
from trioedge.addresses.rules import SourceRules
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import DISABLED_SERVICE, EXPIRED, UNKNOWN_SERVICE, USED_UP, Service
from trioedge.session.session import TOO_MANY_SESSIONS
from trioedge.structures.gcra import RateSpec


def make_service(policy: Policy = Policy()) -> Service:  # noqa: B008 - frozen
    return Tenants().put("shop", policy)


def test_a_service_equals_itself_only() -> None:
    one, other = make_service(), make_service()
    assert one == one
    assert one != other
    assert one != 3
    assert one is not None
    assert len({one, other}) == 2


def test_comparing_a_service_with_text_is_a_type_error() -> None:
    service = make_service()
    mend = r"write \.name, as in session\.service\.name == 'shop'"
    with pytest.raises(TypeError, match=mend):
        service == "shop"  # noqa: B015
    with pytest.raises(TypeError, match=mend):
        service != "shop"  # noqa: B015
    with pytest.raises(TypeError, match=mend):
        "shop" == service  # noqa: B015, SIM300
    with pytest.raises(TypeError, match=mend):
        service in ["shop", "cafe"]  # noqa: B015


def test_looking_a_service_up_among_names_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"write \.name"):
        {"shop": 1}.get(make_service())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"write \.name"):
        make_service() in {"shop", "cafe"}  # noqa: B015


def test_a_service_is_shown_by_its_name_and_its_live_sessions_without_secrets() -> None:
    service = make_service()
    service.live = 3
    assert repr(service) == "Service('shop', live=3)"


def test_a_change_of_policy_swaps_fields_of_the_same_service() -> None:
    tenants = Tenants()
    service = tenants.put("shop", Policy(session_rate=1))
    up, down, incarnation = service.up, service.down, service.incarnation
    tenants.come("shop")
    assert tenants.put("shop", Policy(session_rate=2, session_burst=3, device_limit=4)) is service
    assert (service.up, service.down, service.incarnation) == (up, down, incarnation)
    assert (service.live, service.opened) == (1, 1)
    assert service.policy is service.settings.policy
    assert isinstance(service.session_rate, RateSpec)
    assert service.session_rate.interval == 0.5
    assert service.session_rate.tolerance == pytest.approx(2.01 * 0.5)
    tenants.put("shop")
    assert service.session_rate is None


@attrs.define
class Kept:
    number: int


def test_data_of_stages_are_kept_over_changes_and_dropped_when_the_service_is_gone() -> None:
    tenants = Tenants()
    service = tenants.put("shop")
    service.state[Kept] = Kept(3)
    tenants.put("shop", Policy(max_sessions=1))
    session = tenants.come("shop")
    tenants.remove("shop")
    assert service.state[Kept].number == 3
    tenants.registry.remove(session)
    assert Kept not in service.state


def test_a_service_that_is_gone_wakes_no_listener_of_its_meters() -> None:
    tenants, traffic = Tenants(), list[Service]()
    service = tenants.put("shop")
    tenants.services.on_traffic.append(traffic.append)
    for meter in (service.up, service.down):
        meter.listen()
    tenants.remove("shop")
    for meter in (service.up, service.down):
        meter.listen()
        meter.add(1)
    assert traffic == []
    assert (service.up.bytes, service.down.bytes) == (1, 1)


def test_a_removed_service_refuses_sessions_as_unknown_even_if_it_was_disabled() -> None:
    service = make_service(Policy(enabled=False))
    assert service.refusal == DISABLED_SERVICE
    service.remove()
    assert (service.removed, service.refusal) == (True, UNKNOWN_SERVICE)


# Settings for the length of a block.

OTHER = Settings(Policy(session_rate=3, enabled=False))


def test_other_settings_and_rules_apply_within_a_block_and_the_former_ones_after_it() -> None:
    service, rules = make_service(Policy(session_rate=1)), SourceRules(["192.0.2.1"])
    service.swap(service.settings, rules)
    before, others = service.settings, SourceRules(reject=["192.0.2.1"])
    with service.under(OTHER, others):
        assert (service.settings, service.policy, service.rules) == (OTHER, OTHER.policy, others)
        assert service.session_rate is not None
        assert service.session_rate.interval == pytest.approx(1 / 3)
        assert service.refusal == DISABLED_SERVICE
    assert (service.settings, service.policy, service.rules) == (before, before.policy, rules)
    assert service.settings is before
    assert service.session_rate is not None
    assert service.session_rate.interval == 1
    assert service.refusal is None


def test_the_former_settings_apply_again_after_an_exception() -> None:
    service = make_service()
    before = service.settings
    with pytest.raises(ZeroDivisionError), service.under(OTHER, None):
        raise ZeroDivisionError
    assert (service.settings, service.refusal) == (before, None)


def test_a_block_under_the_present_settings_swaps_nothing() -> None:
    service = make_service(Policy(session_rate=1))
    rate = service.session_rate
    with service.under(service.settings, None):
        assert service.session_rate is rate
    assert service.session_rate is rate


def test_a_service_with_a_quota_that_is_gone_is_freed_without_the_garbage_collector() -> None:
    tenants = Tenants()
    service = tenants.put("shop", Policy(quota_bytes=5, expires_at=4e9))
    gone = ref(service)
    service.up.add(9)
    tenants.remove("shop")
    del service
    assert gone() is None


def test_a_service_is_judged_over_and_again_not() -> None:
    service = make_service(Policy(quota_used=7))
    assert service.quota_used == 7
    service.judge(USED_UP)
    assert service.over is service.refusal is service.up.refusal is service.down.refusal is USED_UP
    service.swap(Settings(Policy(enabled=False)), None)
    service.judge(EXPIRED)
    assert service.refusal is DISABLED_SERVICE
    service.swap(Settings(), None)
    assert service.refusal is EXPIRED
    service.judge(None)
    assert [service.over, service.refusal, service.up.refusal] == [None] * 3
    service.remove()
    service.judge(USED_UP)
    assert service.refusal is UNKNOWN_SERVICE


def test_a_service_is_full_with_the_sessions_of_all_workers() -> None:
    limits = make_limits()
    workers = [Tenants(), Tenants()]
    for column, tenants in enumerate(workers):
        tenants.services.count_everywhere(limits.of("web", column, 0.0))
    one, other = (tenants.put("shop", Policy(max_sessions=2)) for tenants in workers)
    assert not one.is_full()
    workers[0].come("shop")
    session = workers[1].come("shop")
    assert one.is_full()
    assert other.is_full()
    assert workers[1].session("shop").refusal == TOO_MANY_SESSIONS
    workers[1].registry.remove(session)
    assert not one.is_full()


def test_a_service_without_a_number_is_never_full_and_is_counted_for_a_later_one() -> None:
    limits, tenants = make_limits(), Tenants()
    tenants.services.count_everywhere(limits.of("web", 0, 0.0))
    service = tenants.put("shop", Policy(max_sessions="unlimited"))
    tenants.come("shop")
    assert not service.is_full()
    tenants.put("shop", Policy(max_sessions=1))
    assert service.is_full()


def test_a_removed_services_sessions_stay_counted_until_they_end() -> None:
    limits, tenants = make_limits(), Tenants()
    edge = limits.of("web", 0, 0.0)
    tenants.services.count_everywhere(edge)
    tenants.put("shop")
    session = tenants.come("shop")
    tenants.remove("shop")
    tenants.put("shop")
    tenants.come("shop")
    assert edge.total("shop") == 2
    tenants.registry.remove(session)
    assert edge.total("shop") == 1


def test_without_a_control_plane_no_session_is_counted_over_workers() -> None:
    tenants = Tenants(governed=False)
    edge = make_limits().of("web", 0, 0.0)
    tenants.services.count_everywhere(edge)
    tenants.come("shop")
    assert edge.total("shop") == 0
