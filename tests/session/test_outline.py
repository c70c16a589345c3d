from typing import Any

import pytest

import trioedge as te
from trioedge.errors import ConfigurationError
from trioedge.session.outline import check_facts, outline
from trioedge.session.stage import Facts


class Parts:
    """Stages, and an endpoint at the end, by their names."""

    def __init__(self, *parts: tuple[str, dict[str, Any]]) -> None:
        self.names = [name for name, _ in parts]
        self.facts = [Facts(**said) for _, said in parts]

    def check(self) -> None:
        *stages, endpoint = self.names
        places = [f"stage {number} ({name})" for number, name in enumerate(stages, 1)]
        check_facts(self.facts, self.names, [*places, f"endpoint ({endpoint})"])

    @property
    def fault(self) -> str:
        with pytest.raises(ConfigurationError) as refusal:
            self.check()
        return str(refusal.value)


NAMER, USER = ("namer", {"provides": ("service",)}), ("user", {"requires": ("service",)})
END: tuple[str, dict[str, Any]] = ("end", {})
PROXY = ("proxy", {"provides": ("source",)})
MATCH = ("match", {"requires": ("source",)})
ROUTE = ("route", {"provides": ("destination",)})
ALIAS = ("alias", {"requires": ("service",), "provides": ("service",)})
DIALS = ("dials", {"requires": ("destination",)})


@pytest.mark.parametrize(
    "parts",
    [
        (END,),
        (USER, END),
        (MATCH, END),
        (NAMER, USER, END),
        (NAMER, ("end", {"requires": ("service",)})),
        (PROXY, MATCH, END),
        (ROUTE, DIALS),
        (NAMER, ALIAS, USER, END),
        (("peer limit", {"requires": ()}), PROXY, MATCH, END),
    ],
)
def test_a_field_may_be_read_where_it_is_final(parts: Any) -> None:
    Parts(*parts).check()


def test_a_fact_that_no_part_provides_must_be_there_from_the_start() -> None:
    assert Parts(DIALS).fault == (
        "endpoint (dials) needs the session's destination before anything names it: put a stage before it that names "
        "the destination"
    )


def test_a_stage_before_the_first_that_names_its_fact_is_moved_behind_that() -> None:
    assert Parts(USER, NAMER, END).fault == (
        "stage 1 (user) needs the session's service before anything names it: move it behind namer, which names it"
    )


@pytest.mark.parametrize("stages", [(PROXY, MATCH, PROXY), (("proxy v1", PROXY[1]), MATCH, ("again", {}), PROXY)])
def test_a_stage_that_reads_a_fact_which_a_later_stage_changes_is_moved_behind_that(stages: Any) -> None:
    assert Parts(*stages, END).fault == (
        "stage 2 (match) reads the session's source, which proxy changes later: move it behind proxy"
    )


def test_a_stage_that_reads_and_changes_a_fact_counts_as_one_that_reads_it_early() -> None:
    assert Parts(NAMER, ALIAS, NAMER, END).fault == (
        "stage 2 (alias) reads the session's service, which namer changes later: move it behind namer"
    )


def test_a_stage_that_needs_the_relay_is_refused_before_an_endpoint_that_does_without() -> None:
    idle = ("idle", {"needs_relay": True})
    Parts(idle, ("end", {"relays": True})).check()
    assert Parts(("first", {}), idle, ("echo", {})).fault == (
        "stage 2 (idle) does nothing before an endpoint that moves bytes by itself: let echo await "
        "context.relay(session, upstream) and say relays = True"
    )


def test_a_stage_that_may_be_there_once_is_refused_twice() -> None:
    once = ("limit", {"once": True})
    Parts(once, ("other", {"once": True}), END).check()
    assert Parts(once, ("between", {}), once, END).fault == (
        "limit is in the chain twice: use one, with the arguments of both"
    )


def test_other_stages_may_be_there_as_often_as_they_like() -> None:
    Parts(USER, USER, USER, END).check()


@te.handshake(provides=("source",))
def names_source(session: te.Session) -> te.Steps:
    yield te.Read(1)
    return te.CONTINUE


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


@te.decision(provides=("source",))
def renames(session: te.Session) -> te.Verdict:
    return te.CONTINUE


@pytest.mark.parametrize(
    ("stages", "place"),
    [
        ([], None),
        ([te.IdleTimeout(9)], None),
        ([names_source], 0),
        ([te.IdleTimeout(9), te.ProxyProtocol(["10.0.0.0/8"])], 1),
        ([names_source, te.ProxyProtocol(["10.0.0.0/8"])], 0),
        ([te.SniRoute({"a.example": "shop"}), names_source], 1),
        ([pass_on, names_source], None),
        ([names_source, pass_on], 0),
        ([renames], None),
    ],
)
def test_the_first_handshake_that_names_the_source_before_every_middleware_has_a_place(
    stages: list[object], place: int | None
) -> None:
    assert outline(stages, te.Forward("tcp://127.0.0.1:1")).source_at == place
