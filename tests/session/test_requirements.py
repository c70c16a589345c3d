import attrs
import pytest

from trioedge.errors import ConfigurationError
from trioedge.session.requirements import check_facts


@attrs.frozen
class Part:
    name: str
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()


def check(*parts: Part) -> None:
    check_facts(parts, lambda part: part.name if isinstance(part, Part) else "?")


TEXT = Part("text", requires="service")  # type: ignore[arg-type]
NAMER, USER, END = Part("namer", provides=("service",)), Part("user", requires=("service",)), Part("end")


@pytest.mark.parametrize(
    "parts", [(END,), (USER, END), (NAMER, USER, END), (NAMER, Part("end", requires=("service",)))]
)
def test_every_session_has_a_service_from_the_start_unless_a_part_names_it(parts: tuple[Part, ...]) -> None:
    check(*parts)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((USER, NAMER, END), r"stage 1 \(user\) needs .* service .*: move it behind namer, which names it"),
        (
            (Part("end", requires=("destination",)),),
            r"endpoint \(end\) needs .*: put a stage before it that names the dest",
        ),
        (
            (TEXT, END),
            r"stage 1 \(text\): requires='service' is text: write requires=\('service',\)",
        ),
    ],
)
def test_who_needs_what_nobody_has_named_is_told_how_to_mend_it(parts: tuple[Part, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check(*parts)
