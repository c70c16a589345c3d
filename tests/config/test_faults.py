import pytest

from trioedge.config.faults import Document, Place, nearest, shown, written


def test_faults_are_in_the_order_of_the_file_each_with_its_line_and_path() -> None:
    document = Document("edge.toml", "[edge.a]\nx = 1\ny = 2\n")
    place = Place(document, ("edge", "a"))
    (place / "y").refuse("many", "a whole number")
    (place / "x").note("is no key of Edge")
    (place / "x").note("is no key of Edge")
    place.note(": both are wrong")
    assert document.error().faults == (
        "edge.toml:1: edge.a: both are wrong",
        "edge.toml:2: edge.a.x is no key of Edge",
        "edge.toml:3: edge.a.y = 'many' must be a whole number",
    )


def test_a_path_that_the_file_does_not_have_is_at_the_table_around_it() -> None:
    document = Document("edge.toml", "\n[edge.a]\nx = 1\n")
    assert document.line(("edge", "a", "stages", 3, "rate")) == 2
    assert document.line(("process",)) == 1
    assert document.line(()) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("edge", "redis", "stages", 0, "rate"), "edge.redis.stages[0].rate"),
        (("edge", "a b", "x"), "edge.'a b'.x"),
        (("outbound", "out-1"), "outbound.out-1"),
        (("outbound", "a" * 200), f"outbound.'{'a' * 99}..."),
        ((), ""),
    ],
)
def test_a_path_is_written_as_people_do(path: tuple[str | int, ...], text: str) -> None:
    assert shown(path) == text


def test_a_hint_is_the_nearest_name_or_all_of_them() -> None:
    assert nearest("foward", ["forward", "asgi"]) == "did you mean 'forward'?"
    assert nearest("qqq", ["b", "a"]) == "there are a, b"
    assert nearest("qqq", ["b"]) == "there is b"
    assert nearest("qqq", []) == "there is none"
    assert nearest("q", [f"name{n}" for n in range(40)]).endswith(" and 10 more")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"url": "x", "token": "s3cr3t", "a b": {"c": 1}}, "{ url = …, token = …, 'a b' = … }"),
        ([{"token": "s3cr3t"}, [{"token": "s3cr3t"}], 3], "[{ token = … }, [{ token = … }], 3]"),
        ("socks5://user:s3cr3t@127.0.0.1:1080", "a URL with a login"),
        ("tcp://127.0.0.1:1", "'tcp://127.0.0.1:1'"),
        ({}, "{}"),
        ([1] * 1_000_000, f"[1{', 1' * 32}, ..."),
    ],
)
def test_a_value_is_written_without_what_may_be_a_secret(value: object, text: str) -> None:
    assert written(value) == text
