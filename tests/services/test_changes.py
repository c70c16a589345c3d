from collections.abc import Generator
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import given

from tests.strategies import examples
from tests.support.policies import FIELDS, HASHES, TEXTS, DailyQuota, Hours, some_settings, stages
from trioedge.services.changes import ENTRIES_PER_STEP, changed_fields, fate_of, find_field
from trioedge.services.credentials import Credentials
from trioedge.services.policy import FATES, Fate, Policy, Settings

T = TypeVar("T")


def steps_of(generator: Generator[None, None, T]) -> tuple[int, T]:
    """Run a generator to its end; return how often it stopped, and its result."""
    steps = 0
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return steps, end.value
        steps += 1


def with_policy(settings: Settings, **said: Any) -> Settings:
    return attrs.evolve(settings, policy=attrs.evolve(settings.policy, **said))


def changed(before: Settings, after: Settings) -> tuple[str, ...]:
    return steps_of(changed_fields(before, after))[1]


@examples(50)
@given(some_settings, some_settings)
def test_the_fields_that_differ_are_named(before: Settings, after: Settings) -> None:
    expected = [name for name in FIELDS if getattr(before.policy, name) != getattr(after.policy, name)]
    if before.credentials != after.credentials:
        expected.append("password_hash")
    assert changed(before, after) == tuple(expected)
    assert changed(before, Settings(attrs.evolve(before.policy), attrs.evolve(before.credentials))) == ()


@pytest.mark.parametrize("field", [*FIELDS, "password_hash"])
def test_a_change_of_one_field_names_no_other(field: str) -> None:
    before = Settings()
    if field == "password_hash":
        after = attrs.evolve(before, credentials=Credentials(HASHES[1]))
    else:
        after = with_policy(before, **{field: 3 if field in TEXTS else "another"})
    assert changed(before, after) == (field,)
    assert changed(after, before) == (field,)


def long_list(length: int) -> tuple[str, ...]:
    return tuple(f"10.0.{number >> 8}.{number & 255}" for number in range(length))


@pytest.mark.parametrize("field", ["accept", "reject"])
@pytest.mark.parametrize("length", [1, ENTRIES_PER_STEP, ENTRIES_PER_STEP + 1, 5 * ENTRIES_PER_STEP])
def test_long_lists_are_compared_in_short_steps_and_to_their_end(field: str, length: int) -> None:
    before, same = (with_policy(Settings(), **{field: long_list(length)}) for _ in range(2))
    steps, fields = steps_of(changed_fields(before, same))
    assert fields == ()
    assert steps == (-(-length // ENTRIES_PER_STEP) if length > ENTRIES_PER_STEP else 0)
    for others in (long_list(length)[:-1], (*long_list(length)[:-1], "unix"), [*long_list(length)], None):
        assert changed(before, with_policy(before, **{field: others})) == (field,)


def test_a_long_list_is_not_compared_with_itself() -> None:
    before = Settings(Policy(accept=long_list(3 * ENTRIES_PER_STEP)))
    after = with_policy(before, max_sessions=3)
    assert steps_of(changed_fields(before, after)) == (0, ("max_sessions",))
    assert steps_of(changed_fields(before, before)) == (0, ())


def keyed(*stages: object) -> Settings:
    return Settings(Policy(stages=stages))


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ((Hours(8, 18),), (Hours(8, 18),), ()),
        ((Hours(8, 18),), (Hours(9, 18),), ("hours.since",)),
        ((Hours(8, 18),), (Hours(9, 17),), ("hours.since", "hours.until")),
        ((), (Hours(8),), ("hours.since",)),
        ((Hours(8),), (), ("hours.since",)),
        ((Hours(8),), (DailyQuota(3),), ("hours.since", "daily_quota.per_day")),
        ((Hours(8), DailyQuota(3)), (DailyQuota(4), Hours(8)), ("daily_quota.per_day",)),
        ((DailyQuota(token="a"),), (DailyQuota(token="b"),), ("daily_quota.token",)),
    ],
)
def test_a_key_of_a_stage_is_named_with_its_table(
    before: tuple[object, ...], after: tuple[object, ...], fields: tuple[str, ...]
) -> None:
    assert changed(keyed(*before), keyed(*after)) == fields


def test_keys_of_stages_come_behind_the_fields_of_the_policy_and_before_the_password() -> None:
    before = Settings(Policy(session_rate=1, stages=(Hours(8),)), Credentials(HASHES[1]))
    after = Settings(Policy(session_rate=2, stages=(Hours(9),)), Credentials(HASHES[2]))
    assert changed(before, after) == ("session_rate", "hours.since", "password_hash")


@attrs.frozen
class Needy:
    """Not a class of keys, because it cannot be made without an argument."""

    argument: int


@pytest.mark.parametrize(
    "after", [None, [Hours()], (Hours(), 3), (Hours(), Hours()), (Needy(1),), (Hours,), (DailyQuota(), Hours()), ()]
)
def test_stages_that_differ_without_a_key_that_differs_are_named_stages(after: Any) -> None:
    """So that a faulty snapshot counts as a change, and is checked."""
    assert changed(keyed(Hours()), Settings(Policy(stages=after))) == ("stages",)
    assert fate_of("stages", keyed(Hours()), Settings(Policy(stages=after))) is Fate.KEEP


@examples(50)
@given(stages, stages)
def test_the_keys_that_differ_are_named(before: tuple[object, ...], after: tuple[object, ...]) -> None:
    old, new = Policy(stages=before), Policy(stages=after)
    expected = {
        f"{key}.{name}"
        for key, keys in (("hours", Hours), ("daily_quota", DailyQuota))
        for name in attrs.fields_dict(keys)
        if getattr(old[keys], name) != getattr(new[keys], name)
    }
    assert set(changed(Settings(old), Settings(new))) - {"stages"} == expected
    assert (changed(Settings(old), Settings(new)) == ()) is (old == new)


def test_a_key_of_a_private_attribute_is_named_as_its_argument_is() -> None:
    @attrs.frozen
    class Quota:
        _bytes: int = attrs.field(default=0, metadata={"fate": "recheck"})

    assert changed(keyed(Quota(1)), keyed(Quota(2))) == ("quota.bytes",)
    assert fate_of("quota.bytes", keyed(Quota(1)), keyed()) is Fate.RECHECK


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        ("hours.since", Fate.KEEP),
        ("hours.until", Fate.RECHECK),
        ("daily_quota.per_day", Fate.EVICT),
        *FATES.items(),
        ("nothing.known", Fate.KEEP),
    ],
)
def test_the_fate_of_a_key_is_that_of_the_field_of_its_class(name: str, fate: Fate) -> None:
    assert fate_of(name, keyed(Hours()), keyed(DailyQuota())) is fate
    assert fate_of(name, keyed(), keyed(Hours(), DailyQuota())) is fate


@pytest.mark.parametrize("name", ["hours.until", "daily_quota.per_day"])
def test_a_key_that_neither_side_carries_has_not_changed_and_its_fate_is_keep(name: str) -> None:
    """Both sides have the defaults of the class, so there is nothing to judge again or to cut."""
    before, after = keyed(), with_policy(keyed(), max_sessions=3)
    assert before.policy[Hours] is after.policy[Hours]
    assert changed(before, after) == ("max_sessions",)
    assert fate_of(name, before, after) is Fate.KEEP
    assert fate_of(name, None, after) is fate_of(name, before, None) is Fate.KEEP
    assert find_field(name, before, after) is None


@pytest.mark.parametrize(("before", "after"), [((), (Hours(until=24),)), ((Hours(until=24),), ())])
def test_an_instance_of_the_defaults_that_comes_or_goes_changes_no_key(
    before: tuple[object, ...], after: tuple[object, ...]
) -> None:
    assert changed(keyed(*before), keyed(*after)) == ("stages",)
    assert fate_of("stages", keyed(*before), keyed(*after)) is Fate.KEEP


def test_a_key_is_found_by_its_name_in_one_of_the_settings() -> None:
    found = find_field("hours.until", None, keyed(), keyed(Hours()))
    assert found == (Hours, attrs.fields(Hours).until)
    assert find_field("session_rate", keyed(Hours()), keyed(Hours())) is None


class Odd:
    """A value whose comparison raises, or gives something that is neither true nor false, as arrays of NumPy do."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, result: Any) -> None:
        self.result = result

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __eq__(self, other: object) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self

    __ne__ = __eq__


def as_it_is(value: Any) -> Any:
    return value


@attrs.frozen
class Mask:
    bits: Any = attrs.field(default="", converter=as_it_is)


@pytest.mark.parametrize("result", [RuntimeError("no comparison"), None])
def test_values_that_cannot_be_compared_have_changed_unless_they_are_the_same(result: Any) -> None:
    one, other = Odd(result), Odd(result)
    before, after = Settings(Policy(stages=(Mask(one),))), Settings(Policy(stages=(Mask(other),)))
    assert changed(before, after) == ("mask.bits",)
    assert changed(before, Settings(Policy(stages=(Mask(one),)))) == ()
    assert changed(with_policy(before, max_sessions=one), with_policy(before, max_sessions=other)) == ("max_sessions",)


def test_a_key_whose_attribute_was_deleted_has_changed() -> None:
    made = Hours()
    object.__delattr__(made, "since")
    assert changed(Settings(Policy(stages=(Hours(),))), Settings(Policy(stages=(made,)))) == ("hours.since",)
