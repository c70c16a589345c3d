"""Shapes of answers."""

from trioedge.admin.shapes import COUNT, TEXT, or_null, page, table


def test_a_table_needs_all_its_fields_and_has_no_other() -> None:
    assert table(a=TEXT) == {
        "type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False,
    }  # fmt: skip


def test_null_is_one_more_type() -> None:
    assert or_null(COUNT) == {"type": ["integer", "null"], "minimum": 0}
    assert or_null({"anyOf": []}) == {"anyOf": [{"anyOf": []}, {"type": "null"}]}


def test_a_page_has_items_and_a_cursor() -> None:
    assert page(TEXT, COUNT)["properties"]["next"] == or_null(COUNT)
