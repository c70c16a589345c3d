import inspect
import sys
from pathlib import Path
from typing import Any

import maxminddb
import pytest
import trioedge as te
from tables import AMERICAN, FRENCH, GERMAN, WriteTable
from trioedge.testing import check_decision, make_context, make_session, open_edge

from trioedge_geoip import GeoIp, GeoRules

ENDPOINT = te.Forward("tcp://192.0.2.9:6379")


def edge_of(*stages: object, **options: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:6380", stages, ENDPOINT, **options)


def refusal(recipe: GeoIp, source: str, policy: te.Policy | None = None) -> str:
    """The detail of the refusal of a client; empty if it is accepted."""
    verdict = recipe.open(make_context()).decide(make_session(source, policy=policy))
    if verdict is te.CONTINUE:
        return ""
    assert isinstance(verdict, te.Reject)
    assert verdict.reason is te.Reason.SOURCE
    return verdict.detail


def test_the_promises_of_a_decision_are_kept(countries: Path) -> None:
    check_decision(GeoIp(countries, accept_countries=["DE"]))
    check_decision(GeoIp(countries), [make_session(each) for each in (GERMAN, AMERICAN, "unix")])


@pytest.mark.parametrize(
    ("source", "arguments", "detail"),
    [
        (GERMAN, {"accept_countries": ["DE"]}, ""),
        (FRENCH, {"accept_countries": ["de"]}, "country FR matches no accepted entry"),
        (FRENCH, {"reject_countries": ("FR",)}, "country FR"),
        (f"::ffff:{FRENCH}", {"reject_countries": ("FR",)}, "country FR"),
        (AMERICAN, {"reject_countries": ["FR"]}, ""),
        (AMERICAN, {"accept_countries": ["US"]}, ""),
        ("9.9.9.9", {"accept_countries": ["DE"]}, "an unknown country matches no accepted entry"),
        ("9.9.9.9", {"accept_countries": ["DE"], "unknown": "accept"}, ""),
        ("9.9.9.9", {"reject_countries": ["DE"], "unknown": "reject"}, "the place of the address is unknown"),
        ("9.9.9.9", {"reject_countries": ["DE"], "local": "reject"}, ""),
        ("10.0.0.1", {"accept_countries": ["DE"]}, "a local address matches no accepted entry"),
        ("10.0.0.1", {"accept_countries": ["DE"], "unknown": "accept"}, "a local address matches no accepted entry"),
        ("10.0.0.1", {"accept_countries": ["DE"], "local": "accept"}, ""),
        ("unix", {"accept_countries": ["DE"], "local": "accept"}, ""),
        ("unix", {"reject_countries": ["DE"], "local": "reject"}, "a local address"),
    ],
)
def test_a_client_is_judged_by_its_country(
    countries: Path, source: str, arguments: dict[str, Any], detail: str
) -> None:
    assert refusal(GeoIp(countries, **arguments), source) == detail


@pytest.mark.parametrize(
    ("source", "arguments", "detail"),
    [
        (GERMAN, {"accept_countries": ["DE"], "reject_as_numbers": [3320]}, "AS3320"),
        (AMERICAN, {"accept_countries": ["DE"], "accept_as_numbers": [64500]}, ""),
        (AMERICAN, {"accept_countries": ["DE"]}, "AS64500 in country US matches no accepted entry"),
        (FRENCH, {"reject_as_numbers": [3320], "unknown": "reject"}, "the place of the address is unknown"),
    ],
)
def test_a_client_is_judged_by_two_files(
    countries: Path, networks: Path, source: str, arguments: dict[str, Any], detail: str
) -> None:
    assert refusal(GeoIp(countries, networks, **arguments), source) == detail


def test_a_client_is_judged_by_the_policy_of_its_service(countries: Path) -> None:
    recipe = GeoIp(str(countries))
    german = te.Policy(stages=(GeoRules(accept_countries=("DE",)),))
    assert refusal(recipe, GERMAN, german) == ""
    assert refusal(recipe, FRENCH, german) == "country FR matches no accepted entry"
    assert refusal(recipe, FRENCH) == ""


def test_a_stage_with_entries_of_its_own_does_not_ask_the_policy(countries: Path) -> None:
    policy = te.Policy(stages=(GeoRules(accept_countries=("FR",)),))
    assert refusal(GeoIp(countries, accept_countries=["DE"]), GERMAN, policy) == ""


def test_a_recipe_says_what_it_needs(countries: Path) -> None:
    alone, by_policy = GeoIp(countries, accept_countries=["DE"]), GeoIp(countries)
    assert (alone.requires, alone.policy, alone.needs_control) == (("source",), None, False)
    assert (by_policy.requires, by_policy.policy, by_policy.needs_control) == (("service", "source"), GeoRules, True)


def test_an_edge_without_services_refuses_a_stage_without_entries(countries: Path) -> None:
    with pytest.raises(te.ConfigurationError, match="GeoIp"):
        edge_of(GeoIp(countries))


def test_it_stands_behind_the_stage_that_moves_the_source(countries: Path) -> None:
    geo = GeoIp(countries, accept_countries=["DE"])
    proxy = te.ProxyProtocol(trusted=["10.0.0.0/8"])
    edge_of(proxy, geo)
    with pytest.raises(te.ConfigurationError, match="source"):
        edge_of(geo, proxy)


def test_a_recipe_is_written_with_its_file_and_counts(countries: Path) -> None:
    assert repr(GeoIp(countries, accept_countries=["DE", "FR"], reject_as_numbers=[7])) == (
        "GeoIp(countries.mmdb, 2 accepted, 1 rejected)"
    )
    assert repr(GeoIp(countries)) == "GeoIp(countries.mmdb)"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"path": ""}, "GeoIp(path='') must be the path of a file, as in 'GeoLite2-Country.mmdb'"),
        ({"path": "a\0"}, "GeoIp(path='a\\x00') must be the path of a file, as in 'GeoLite2-Country.mmdb'"),
        ({"path": 7}, "GeoIp(path=7) must be the path of a file, as in 'GeoLite2-Country.mmdb'"),
        ({"asn_path": 7}, "GeoIp(asn_path=7) must be the path of a file, as in 'GeoLite2-Country.mmdb'"),
        ({"unknown": "maybe"}, "GeoIp(unknown='maybe') must be 'accept' or 'reject'"),
        ({"local": True}, "GeoIp(local=True) must be 'accept' or 'reject'"),
        ({"unknown": []}, "GeoIp(unknown=[]) must be 'accept' or 'reject'"),
        ({"accept_countries": "DE"}, "GeoIp(accept_countries): 'DE' is no list: write ['DE', 'AT']"),
        (
            {"reject_countries": ["Germany"]},
            "GeoIp(reject_countries): 'Germany' is no ISO code of a country: write two letters, as in 'DE'",
        ),
        (
            {"accept_as_numbers": ["AS1"]},
            "GeoIp(accept_as_numbers): 'AS1' is no AS number: write a whole number from 0 to 4294967295, as in 3320",
        ),
        ({"reject_as_numbers": 5}, "GeoIp(reject_as_numbers): 5 is no list: write [3320, 64500]"),
        (
            {"accept_countries": ["DE"], "reject_countries": ["DE"]},
            "GeoIp: 'DE' is accepted and rejected: write it once",
        ),
    ],
)
def test_an_argument_that_cannot_work_is_refused(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as raised:
        GeoIp(**{"path": "countries.mmdb"} | arguments)
    assert str(raised.value) == fault


def test_making_a_recipe_reads_no_file(tmp_path: Path) -> None:
    recipe = GeoIp(tmp_path / "missing.mmdb", accept_countries=["DE"])
    with pytest.raises(te.ConfigurationError) as raised:
        recipe.open(make_context())
    assert str(raised.value) == (
        f"GeoIp: {tmp_path}/missing.mmdb: No such file or directory: write the path of a MaxMind DB file"
    )


def test_a_broken_file_and_a_missing_extension_keep_the_edge_from_starting(
    countries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = GeoIp(countries, accept_countries=["DE"])
    monkeypatch.delattr(maxminddb, "extension")
    monkeypatch.setitem(sys.modules, "maxminddb.extension", None)
    with pytest.raises(te.ConfigurationError, match=r"^GeoIp: maxminddb has no C extension here"):
        recipe.open(make_context())
    monkeypatch.undo()
    countries.write_bytes(countries.read_bytes()[:-20])
    with pytest.raises(te.ConfigurationError, match=r"^GeoIp: .*is no MaxMind DB file or not a whole one"):
        recipe.open(make_context())


def test_entries_that_no_file_can_answer_keep_the_edge_from_starting(countries: Path, networks: Path) -> None:
    for recipe, fault in (
        (GeoIp(countries, reject_as_numbers=[7]), "has entries for AS numbers, and no file has any: give asn_path="),
        (GeoIp(networks, reject_countries=["DE"]), "has entries for countries, and no file has any: give path="),
    ):
        with pytest.raises(te.ConfigurationError) as raised:
            recipe.open(make_context())
        assert str(raised.value) == f"{recipe!r} {fault}"


def test_one_recipe_serves_two_runs(countries: Path) -> None:
    recipe = GeoIp(countries, accept_countries=["DE"])
    one, other = recipe.open(make_context()), recipe.open(make_context())
    assert one is not other
    assert one.decide(make_session(GERMAN)) is other.decide(make_session(GERMAN)) is te.CONTINUE


async def test_an_edge_accepts_and_refuses_clients(countries: Path, autojump_clock: Any, log: Any) -> None:
    async with open_edge(edge_of(GeoIp(countries, accept_countries=["DE"]))) as world:
        client = await world.connect(GERMAN)
        await client.send(b"hello")
        assert await client.receive(5) == b"hello"
        refused = await world.connect(FRENCH)
        assert refused.outcome == te.Reject(te.Reason.SOURCE, "country FR matches no accepted entry")
        assert world.edge.statistics().refused == {te.Reason.SOURCE: 1}


async def test_live_sessions_are_judged_again_when_their_policy_changes(
    countries: Path, autojump_clock: Any, log: Any
) -> None:
    control = te.MemoryControl({"default": te.Policy()})
    async with open_edge(edge_of(GeoIp(countries), control=control)) as world:
        german, french = await world.connect(GERMAN), await world.connect(FRENCH)
        await control.put("default", te.Policy(stages=(GeoRules(accept_countries=("DE", "FR")),)))
        assert (german.outcome, french.outcome) == (None, None)
        plan = await control.put("default", te.Policy(stages=(GeoRules(reject_countries=("FR",)),)))
        assert plan.evicted == 1
        assert (await french.ended()).reason is te.Reason.SOURCE
        await german.send(b"on")
        assert await german.receive(2) == b"on"


async def test_rules_of_a_service_that_no_file_can_answer_are_logged(
    countries: Path, autojump_clock: Any, log: Any
) -> None:
    control = te.MemoryControl({"default": te.Policy(stages=(GeoRules(reject_as_numbers=(7,)),))})
    async with open_edge(edge_of(GeoIp(countries), control=control)) as world:
        await control.put("default", te.Policy(stages=(GeoRules(reject_countries=("FR",)),)))
        assert (await world.connect(FRENCH)).outcome is not None
    warned = [line for line in log if line["event"] == "geoip rules have no effect"]
    assert [(line["service"], line["error"]) for line in warned] == [("default", "no file has AS numbers")]


async def test_a_table_without_addresses_of_ipv6_leaves_them_unknown(
    table: WriteTable, autojump_clock: Any, log: Any
) -> None:
    path = table({"81.2.0.0/16": {"country": {"iso_code": "DE"}}}, version=4)
    async with open_edge(edge_of(GeoIp(path, accept_countries=["DE"]))) as world:
        assert (await world.connect(GERMAN)).outcome is None
        refused = await world.connect(AMERICAN)
        assert refused.outcome == te.Reject(te.Reason.SOURCE, "an unknown country matches no accepted entry")


def test_every_argument_has_words_in_the_reference() -> None:
    words = inspect.getdoc(GeoIp.__init__) or ""
    for name in list(inspect.signature(GeoIp).parameters):
        assert f"\n    {name}: " in words
