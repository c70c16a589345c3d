"""Which session fields a chain's parts need, which of them name these, and which part may stand there only once."""

from collections.abc import Callable, Sequence

from ..errors import ConfigurationError


def check_facts(parts: Sequence[object], name_of: Callable[[object], str]) -> None:
    """Refuse a stage that needs a session field before a stage has named it, and one that stands there twice.

    Every session has a service from the start, unless some stage of the chain names one: then whoever asks
    before that stage would be told the wrong one.

    Args:
        parts: the stages and the endpoint, in order; what they need and name stands in `requires` and `provides`, and
            `once` is true for those of which a chain has one at most.
        name_of: names a part for people.

    Raises:
        ConfigurationError: which part needs what, and how to mend it.
    """
    for number, part in enumerate(parts, 1):
        for name in ("requires", "provides"):
            if isinstance(facts := getattr(part, name, ()), str):
                raise ConfigurationError(
                    f"stage {number} ({name_of(part)}): {name}={facts!r} is text: write {name}=({facts!r},)"
                )
    lonely = [name_of(part) for part in parts if getattr(part, "once", False)]
    for name in lonely:
        if lonely.count(name) > 1:
            raise ConfigurationError(f"{name} is there twice, and each would undo the other: give one what both say")
    naming = {fact for part in parts for fact in getattr(part, "provides", ())}
    known = {"service"} - naming
    for number, part in enumerate(parts, 1):
        for fact in getattr(part, "requires", ()):
            if fact not in known:
                later = [name_of(other) for other in parts[number:] if fact in getattr(other, "provides", ())]
                mend = (
                    f"move it behind {later[0]}, which names it"
                    if later
                    else f"put a stage before it that names the {fact}"
                )
                where = "endpoint" if number == len(parts) else f"stage {number}"
                raise ConfigurationError(
                    f"{where} ({name_of(part)}) needs the session's {fact} before anything names it: {mend}"
                )
        known.update(getattr(part, "provides", ()))
