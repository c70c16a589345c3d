import attrs
import pytest

from trioedge.services.key_classes import defaults_of, key_of, stage_fields


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Hours", "hours"),
        ("OpenHours", "open_hours"),
        ("HTTPHours", "http_hours"),
        ("Level7Rules", "level7_rules"),
        ("ABTest", "ab_test"),
        ("_Private", "private"),
        ("open_hours", "open_hours"),
    ],
)
def test_a_table_has_the_name_of_its_class_in_snake_case(name: str, key: str) -> None:
    assert key_of(type(name, (), {})) == key


def test_fields_are_found_by_the_names_that_the_constructor_takes() -> None:
    @attrs.frozen
    class Quota:
        _per_day: int = 0
        limit: int = attrs.field(default=1, alias="maximum")
        made: int = attrs.field(default=0, init=False)

    assert {name: field.name for name, field in stage_fields(Quota).items()} == {
        "per_day": "_per_day",
        "maximum": "limit",
    }


def test_the_defaults_of_a_class_are_one_instance() -> None:
    @attrs.frozen
    class Hours:
        since: int = 0

    assert defaults_of(Hours) == Hours()
    assert defaults_of(Hours) is defaults_of(Hours)


@pytest.mark.parametrize("keys", ["hours", 0, int, pytest, None])
def test_what_is_no_attrs_class_has_no_defaults(keys: object) -> None:
    with pytest.raises(
        TypeError, match=r"^policy\[\.\.\.\] takes the attrs class that a stage names as its policy, not "
    ):
        defaults_of(keys)
