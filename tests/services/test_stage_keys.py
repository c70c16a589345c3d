"""The keys of a user's stage: the class, the table of a service, and `Policy.stages` of a program."""

from enum import StrEnum
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trioedge as te
from tests.strategies import examples
from tests.support.policies import STAGE_KEYS, DailyQuota, Hours, anything, stages
from trioedge.services.stage_keys import MAX_MESSAGE_LETTERS, NO_KEYS, StageKeys, rechecked_keys

PATH = "services.shop"


def read(keys: type, **table: object) -> tuple[object | None, list[str]]:
    stage_keys = StageKeys([keys])
    (key,) = stage_keys
    return stage_keys.read(key, table, f"{PATH}.{key}")


def faults_of(*made: object, stage_keys: StageKeys = STAGE_KEYS) -> list[str]:
    return list(stage_keys.faults(made, PATH))


# The keys of an edge's stages.


def make_edge(*stages: object) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:6380", stages, te.Forward("tcp://a.example:1"))


class OpenHours:
    """A stage with keys of its own."""

    policy = Hours

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


class CountBytes:
    policy = DailyQuota

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


def test_the_stages_of_a_chain_name_the_tables_of_a_service() -> None:
    edge = make_edge(OpenHours(), te.SessionGate(5), OpenHours(), CountBytes())
    stage_keys = edge.stage_keys
    assert list(stage_keys) == ["hours", "daily_quota"]
    assert "hours" in stage_keys
    assert "session_gate" not in stage_keys
    made, faults = stage_keys.read("hours", {"since": 8, "until": 18}, "services.shop.hours")
    assert (made, faults) == (Hours(8, 18), [])
    assert te.Policy(stages=(made,))[Hours].until == 18


def test_a_stage_may_name_no_keys() -> None:
    class Silent(OpenHours):
        policy = None  # type: ignore[assignment]

    assert list(make_edge(Silent(), te.SessionGate(5)).stage_keys) == list(NO_KEYS) == []


def test_functions_name_the_tables_of_a_service_too() -> None:
    @te.decision(policy=Hours)
    def open_hours(session: te.Session) -> te.Verdict:
        return te.CONTINUE

    @te.middleware(policy=DailyQuota)
    async def count_bytes(session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await call_next(session)

    assert list(make_edge(open_hours, count_bytes).stage_keys) == ["hours", "daily_quota"]


def test_an_edge_with_a_stage_whose_keys_cannot_be_a_table_is_refused() -> None:
    class Wrong(OpenHours):
        policy = NoAttrs  # type: ignore[assignment]

    with pytest.raises(te.ConfigurationError, match="policy = NoAttrs must be an attrs class"):
        make_edge(Wrong())


def test_the_keys_to_recheck_are_named_with_their_table() -> None:
    @attrs.frozen
    class OpenShop:
        _days: int = attrs.field(default=0, metadata={"fate": te.Fate.RECHECK})
        hours: int = attrs.field(default=0, metadata={"fate": "recheck"})
        token: str = attrs.field(default="", metadata={"fate": "evict"})
        made: int = attrs.field(default=0, init=False, metadata={"fate": "recheck"})

    assert rechecked_keys(OpenShop) == {"open_shop.days", "open_shop.hours"}
    assert rechecked_keys(Hours) == {"hours.until"}
    assert rechecked_keys(DailyQuota) == frozenset()


# Classes.


@attrs.frozen
class NoDefault:
    since: int


@attrs.frozen
class Refusing:
    since: int = attrs.field(default=-1, validator=attrs.validators.ge(0))


@attrs.frozen
class SessionRate:
    per_minute: int = 0


@attrs.frozen
class Name:
    text: str = ""


@attrs.frozen
class Stages:
    number: int = 0


@attrs.frozen
class WrongFate:
    since: int = attrs.field(default=0, metadata={"fate": "recut"})


@attrs.frozen
class Retuned:
    since: int = attrs.field(default=0, metadata={"fate": te.Fate.RETUNE})


@attrs.frozen
class Elsewhere:
    since: "Nowhere" = 0  # type: ignore[name-defined]  # noqa: F821


class NoAttrs:
    since = 0


FATES = "must be 'keep' or 'recheck' or 'evict'"


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (NoAttrs, "policy = NoAttrs must be an attrs class: write @attrs.frozen above it"),
        (Hours(8), "policy = Hours(since=8, until=24) must be an attrs class, not an instance"),
        ("hours", "policy = 'hours' must be an attrs class, not an instance"),
        (NoDefault, "policy = NoDefault: its field since has no default, and a service need not say it: give it one"),
        (Refusing, "policy = Refusing: Refusing() cannot be made: 'since' must be >= 0: -1"),
        (SessionRate, "policy = SessionRate: every service has a key 'session_rate' already: rename the class"),
        (Name, "policy = Name: every service has a key 'name' already: rename the class"),
        (Stages, "policy = Stages: every service has a key 'stages' already: rename the class"),
        (WrongFate, f"policy = WrongFate: the fate 'recut' of its field since {FATES}"),
        (Retuned, f"policy = Retuned: the fate 'retune' of its field since {FATES}"),
        (Elsewhere, "policy = Elsewhere: its annotations cannot be read: name 'Nowhere' is not defined"),
    ],
)
def test_a_class_that_cannot_be_a_table_is_refused_with_a_mend(keys: Any, fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as raised:
        StageKeys([Hours, keys])
    assert str(raised.value) == fault


def test_a_class_whose_name_has_no_letter_is_refused() -> None:
    keys = attrs.make_class("_", {"since": attrs.field(default=0, type=int)})
    with pytest.raises(te.ConfigurationError) as refusal:
        StageKeys([keys])
    assert str(refusal.value) == "policy = _: the name of a class is that of its table: use letters, as in Hours"


def test_an_attribute_that_was_deleted_is_a_fault() -> None:
    made = Hours()
    object.__delattr__(made, "since")
    (fault,) = faults_of(made)
    assert fault.startswith("services.shop.hours.since cannot be read: ")
    assert "since" in fault.partition("read: ")[2]


def test_a_class_of_keys_that_is_password_hash_is_refused() -> None:
    with pytest.raises(te.ConfigurationError, match="every service has a key 'password_hash' already"):
        StageKeys([attrs.make_class("PasswordHash", {"x": attrs.field(default=0)})])


def test_two_classes_of_one_table_are_refused() -> None:
    other = attrs.make_class("hours", {"since": attrs.field(default=0)})
    with pytest.raises(te.ConfigurationError) as raised:
        StageKeys([Hours, other])
    assert str(raised.value) == (
        f"{Hours.__module__}.Hours and {other.__module__}.hours would both be the table 'hours' of a service: "
        "rename one"
    )


# Tables.


class Day(StrEnum):
    MONDAY = "mon"
    SUNDAY = "sun"


def even(instance: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if value % 2:
        raise te.ConfigurationError(f"{value} is odd,\nsadly")


def bytes_per_second(value: object) -> float:
    return float(str(value).removesuffix(" B/s"))


@attrs.define
class Everything:
    text: str = ""
    whole: int = attrs.field(default=0, validator=even)
    number: float = 0.0
    flag: bool = False
    day: Day = Day.MONDAY
    days: tuple[Day, ...] = ()
    maybe: int | None = 3
    names: list[str] = attrs.field(factory=list)
    either: int | str = 0
    free: Any = None
    _hidden: int = 0
    rate: float = attrs.field(default=1.0, converter=bytes_per_second)
    size: int = attrs.field(default=0, init=False)


def test_each_type_of_field_is_read() -> None:
    table: dict[str, Any] = {
        "text": "a", "whole": 2, "number": 3, "flag": True, "day": "sun", "days": ["mon", "sun"], "maybe": None,
        "names": ["x"], "either": "y", "free": {"z": [1]}, "hidden": 5, "rate": "8 B/s",
    }  # fmt: skip
    made, faults = read(Everything, **table)
    assert faults == []
    expected = {**table, "day": Day.SUNDAY, "days": (Day.MONDAY, Day.SUNDAY), "rate": 8.0}
    assert made == Everything(**expected)
    assert faults_of(made, stage_keys=StageKeys([Everything])) == []


def test_an_empty_table_is_the_defaults() -> None:
    assert read(Everything) == (Everything(), [])


@pytest.mark.parametrize(
    ("keys", "table", "faults"),
    [
        (Hours, {"sinse": 8}, ["hours has no key 'sinse' (did you mean since?): there are since, until"]),
        (Hours, {"since": "8"}, ["hours.since = '8' must be a whole number"]),
        (Hours, {"since": True}, ["hours.since = True must be a whole number"]),
        (Hours, {"since": 2**63}, ["hours.since has more than 64 bits"]),
        (Hours, {"since": 99}, ["hours.since = 99: 'since' must be in range(0, 25) (got 99)"]),
        (
            Hours,
            {"until": None, "since": 99, "x": 1},
            [
                "hours has no key 'x': there are since, until",
                "hours.until = None must be a whole number",
                "hours.since = 99: 'since' must be in range(0, 25) (got 99)",
            ],
        ),
        (DailyQuota, {"days": "mon"}, ["daily_quota.days = 'mon' must be a list"]),
        (DailyQuota, {"days": ["mon", 3]}, ["daily_quota.days[1] = 3 must be text"]),
        (DailyQuota, {"days": ["x" * 1_001]}, ["daily_quota.days[0] has more than 1,000 letters"]),
        (Everything, {"free": "x" * 1_001}, ["everything.free has more than 1,000 letters"]),
        (Everything, {"day": "noon"}, ["everything.day = 'noon' must be 'mon' or 'sun'"]),
        (Everything, {"either": 1.5}, ["everything.either = 1.5 must be a whole number or text"]),
        (Everything, {"whole": 3}, ["everything.whole = 3: 3 is odd, sadly"]),
        (Everything, {"rate": "x"}, ["everything.rate = 'x': could not convert string to float: 'x'"]),
        (Everything, {"size": 3}, ["everything has no key 'size': there are text, whole, number"]),
    ],
)
def test_each_fault_of_a_table_is_named_by_its_path(keys: type, table: dict[str, Any], faults: list[str]) -> None:
    made, found = read(keys, **table)
    assert made is None
    assert [fault[: len(PATH) + 1 + len(each)] for fault, each in zip(found, faults, strict=True)] == [
        f"{PATH}.{each}" for each in faults
    ]


@pytest.mark.parametrize("table", [3, "since", None, ["since"]])
def test_keys_that_are_no_table_are_a_fault(table: object) -> None:
    assert STAGE_KEYS.read("hours", table, f"{PATH}.hours") == (None, [f"{PATH}.hours = {table!r} must be a table"])


@attrs.frozen
class Range:
    low: int = 0
    high: int = attrs.field(default=24)

    @high.validator
    def _in_order(self, attribute: object, value: int) -> None:
        if value < self.low:
            raise ValueError("high must not be below low")


def test_values_that_are_wrong_only_together_are_a_fault_of_the_table() -> None:
    assert read(Range, low=8, high=18) == (Range(8, 18), [])
    assert read(Range, low=18, high=8) == (None, [f"{PATH}.range: high must not be below low"])


@attrs.frozen
class Wordless:
    number: int = attrs.field(default=0)
    text: str = attrs.field(default="")

    def __attrs_post_init__(self) -> None:
        if self.number:
            raise ZeroDivisionError
        if self.text:
            raise OSError(2, self.text * 1_000)


def test_the_message_of_a_class_is_bounded_and_never_empty() -> None:
    assert read(Wordless, number=3) == (None, [f"{PATH}.wordless.number = 3: ZeroDivisionError"])
    (fault,) = read(Wordless, text="x")[1]
    assert fault.startswith(f"{PATH}.wordless.text = 'x': [Errno 2] xxx")
    assert len(fault) < MAX_MESSAGE_LETTERS + 50


class SilentError(BaseException):
    """No Exception, and its text raises."""

    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


def refuse(instance: object, attribute: object, value: int) -> None:
    if value:
        raise SilentError


@attrs.define
class Odd:
    number: int = attrs.field(default=0, validator=refuse)


def test_a_validator_may_raise_any_exception_also_one_without_a_text() -> None:
    said = "<SilentError, whose repr raised LookupError>"
    assert read(Odd, number=3) == (None, [f"{PATH}.odd.number = 3: {said}"])
    made = Odd()
    object.__setattr__(made, "number", 4)
    assert faults_of(made, stage_keys=StageKeys([Odd])) == [f"{PATH}.odd.number = 4: {said}"]


def hush(instance: object, attribute: object, value: str) -> None:
    if value == "hunter2":
        raise ValueError(f"{value} is too well known")


@attrs.define
class Login:
    token: str | None = attrs.field(default=None, repr=False, validator=hush)
    free: object = attrs.field(default=None, repr=False)


def test_a_field_without_repr_is_quoted_in_no_message() -> None:
    assert read(Login, token=31337, free="x" * 1_001)[1] == [
        f"{PATH}.login.token must be text",
        f"{PATH}.login.free has more than 1,000 letters",
    ]
    assert read(Login, token="hunter2")[1] == [f"{PATH}.login.token is refused"]
    login = Login()
    object.__setattr__(login, "token", "hunter2")
    assert faults_of(login, stage_keys=StageKeys([Login])) == [f"{PATH}.login.token is refused"]


@pytest.mark.parametrize(
    ("stage_keys", "tables", "fault"),
    [
        (
            NO_KEYS,
            ["hours"],
            "has no table 'hours': no stage names a class of keys, as in @te.decision(policy=Hours)",
        ),
        (
            NO_KEYS,
            ["destinations"],
            "has no table 'destinations': DestinationMatch() reads destinations: add it to the stages",
        ),
        (STAGE_KEYS, ["hourz"], "has no table 'hourz' (did you mean hours?): stages read hours, daily_quota"),
        (STAGE_KEYS, ["acept"], "has no table 'acept' (did you mean accept?): stages read hours, daily_quota"),
        (StageKeys(otherwise="say --target"), ["a", "b"], "has no table 'a', 'b': say --target"),
    ],
)
def test_tables_that_no_stage_reads_are_a_fault(stage_keys: StageKeys, tables: list[str], fault: str) -> None:
    assert stage_keys.unread(tables, PATH) == f"{PATH} {fault}"


@examples(100)
@given(st.dictionaries(st.sampled_from([*attrs.fields_dict(Everything), "bogus"]), anything, max_size=3))
def test_any_table_is_an_instance_or_has_faults(table: dict[str, Any]) -> None:
    made, faults = read(Everything, **table)
    assert (made is None) is bool(faults)
    assert all(fault.startswith(f"{PATH}.everything") and "\n" not in fault for fault in faults)
    if made is not None:
        assert faults_of(made, stage_keys=StageKeys([Everything])) == []


# `Policy.stages` of a program.


@examples(50)
@given(stages)
def test_instances_of_what_stages_name_have_no_faults(made: tuple[object, ...]) -> None:
    assert faults_of(*made) == []


@pytest.mark.parametrize(
    ("made", "faults"),
    [
        (
            (Everything(),),
            ["stages: no stage of this edge has policy = Everything; stages name: Hours, DailyQuota"],
        ),
        (
            (3, Hours()),
            ["stages: no stage of this edge has policy = int; stages name: Hours, DailyQuota"],
        ),
        ((Hours,), ["stages: Hours is a class: write Hours(...)"]),
        ((Hours(8), Hours(9)), ["stages has two Hours: a service has one"]),
        (
            (DailyQuota("3", ("mon", 3)), Hours(until="18")),  # type: ignore[arg-type]
            [
                "daily_quota.per_day = '3' must be a whole number",
                "daily_quota.days[1] = 3 must be text",
                "hours.until = '18' must be a whole number",
            ],
        ),
    ],
)
def test_each_fault_of_instances_is_named(made: tuple[object, ...], faults: list[str]) -> None:
    assert faults_of(*made) == [f"{PATH}.{each}" for each in faults]


def test_no_instance_is_right_where_no_stage_names_a_class() -> None:
    (fault,) = faults_of(Hours(), stage_keys=NO_KEYS)
    assert fault == f"{PATH}.stages: no stage of this edge has policy = Hours; stages name: none"


@pytest.mark.parametrize("made", [None, [Hours()], Hours(), "Hours"])
def test_stages_that_are_no_tuple_are_a_fault(made: object) -> None:
    (fault,) = STAGE_KEYS.faults(made, PATH)
    assert fault == f"{PATH}.stages = {made!r} must be a tuple, as in stages=(Hours(8, 18),)"


def test_an_instance_that_was_changed_after_it_was_made_is_checked_again() -> None:
    made = Everything()
    object.__setattr__(made, "whole", 3)
    object.__setattr__(made, "names", ["a", 3])
    assert faults_of(made, stage_keys=StageKeys([Everything])) == [
        f"{PATH}.everything.whole = 3: 3 is odd, sadly",
        f"{PATH}.everything.names[1] = 3 must be text",
    ]
