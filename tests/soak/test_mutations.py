"""Mutations of a source text: which there are, and which are left alone."""

import pytest

from tests.soak.mutations import mutations, sample


def changes(source: str) -> list[str]:
    return [f"{each.kind}: {each.change()}" for each in mutations(source)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = a < b", ["comparison: a < b -> <="]),
        ("x = a is not None", ["comparison: a is not None -> is"]),
        ("x = (a) >= (b)", ["comparison: a) >= (b -> >"]),
        ("x = a not in b", ["comparison: a not in b -> in"]),
        ("x = a - b", ["sign: a - b -> +"]),
        ("x += y", ["sign: x += y -> -="]),
        ("x = a and b", ["junction: a and b -> or"]),
        ("x = f(3)", ["constant: 3 -> 4"]),
        ("f(x)", ["call: f(x) -> dropped"]),
        ("async def g():\n    await f(x)", ["call: await f(x) -> dropped"]),
        ("if a:\n    x = y", ["condition: a -> (not (a))"]),
        ("x = y if a else z", ["condition: a -> (not (a))"]),
    ],
)
def test_each_kind_is_found_once(source: str, found: list[str]) -> None:
    assert changes(source) == found


@pytest.mark.parametrize(
    "source",
    [
        '"""Say 3 < 4."""',
        "x = f'{a - 3}'",
        "LIMIT = 3",
        "LIMIT: Final = 2 * 3",
        "__slots__ = ('a', *(3,))",
        "self.log.info('x')",
        "log.notice('x')",
        "def f(x: Literal[3]) -> None: ...",
        "x = True",
        "while True:\n    break",
    ],
)
def test_texts_constants_annotations_and_logs_are_left_alone(source: str) -> None:
    assert changes(source) == []


def test_a_mutation_changes_its_place_and_nothing_else() -> None:
    source = 'é = "ü"\nif a < b and c < d:\n    f(1)\n'
    assert [each.applied(source) for each in mutations(source) if each.kind == "comparison"] == [
        'é = "ü"\nif a <= b and c < d:\n    f(1)\n',
        'é = "ü"\nif a < b and c <= d:\n    f(1)\n',
    ]


def test_a_mutation_says_its_line() -> None:
    assert [each.line for each in mutations("x = 1\ny = f(2)\n\nz = 3")] == [1, 2, 4]


def test_a_sample_is_the_same_for_a_seed_and_another_for_another() -> None:
    sources = {"a.py": "\n".join(f"x{n} = f({n})" for n in range(50)), "b.py": "y = 1"}
    assert sample(sources, 10, 1) == sample(sources, 10, 1)
    assert sample(sources, 10, 1) != sample(sources, 10, 2)


def test_a_sample_takes_of_each_file_and_fills_up_from_the_larger() -> None:
    sources = {"a.py": "\n".join(f"x{n} = f({n})" for n in range(50)), "b.py": "y = 1"}
    chosen = [path for path, _ in sample(sources, 10, 1)]
    assert chosen.count("b.py") == 1
    assert chosen.count("a.py") == 9
