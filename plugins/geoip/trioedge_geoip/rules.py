"""Rules by country and AS number: read, checked, compiled, and applied to a place.

| of an address, | verdict |
| --- | --- |
| the country or the AS number is rejected | rejected |
| the country or the AS number is accepted | accepted |
| the tables lack the country, and a rule names countries; or the same of AS numbers | its place's own, if it has one |
| anything else | rejected if there is an accepted entry, otherwise accepted |

The first row that fits decides.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import trioedge as te

from .place import Place

MAX_AS_NUMBER: Final = 2**32 - 1

MAX_ENTRIES: Final = 1_000
"""Of one key of a service, so that a policy is read in a millisecond. Arguments of the stage may have any number."""

_MENDS: Final = {"UK": "GB", "EL": "GR"}
"""Codes that are often written and that no table has."""


def read_countries(codes: Iterable[str]) -> tuple[str, ...]:
    """Read ISO 3166 codes of countries, and write them in upper case.

    Raises:
        ConfigurationError: ``'Germany' is no ISO code of a country: write two letters, as in 'DE'``.
    """
    return tuple(map(_read_country, _entries(codes, "['DE', 'AT']")))


def read_as_numbers(numbers: Iterable[int]) -> tuple[int, ...]:
    """Read AS numbers.

    Raises:
        ConfigurationError: ``'AS3320' is no AS number: write a whole number from 0 to 4294967295, as in 3320``.
    """
    return tuple(map(_read_as_number, _entries(numbers, "[3320, 64500]")))


@attrs.frozen
class Rules:
    """Rules, compiled.

    Attributes:
        rejected: the refusal of each country and AS number that is rejected.
        accepted: countries and AS numbers that are accepted.
        names_countries: whether one of the entries is a country.
        names_as_numbers: whether one of them is an AS number.
    """

    rejected: Mapping[str | int | None, te.Reject]
    accepted: frozenset[str | int | None]
    names_countries: bool
    names_as_numbers: bool

    def judge(self, place: Place) -> te.Verdict:
        """Decide about a place by the table at the head of this file. Takes 0.2 µs."""
        country, as_number = place.country, place.as_number
        rejected, accepted = self.rejected, self.accepted
        if rejected:
            refusal = rejected.get(country) or rejected.get(as_number)
            if refusal is not None:
                return refusal
        if country in accepted or as_number in accepted:
            return te.CONTINUE
        if place.otherwise is not None and (
            (country is None and self.names_countries) or (as_number is None and self.names_as_numbers)
        ):
            return place.otherwise
        return place.unmatched() if accepted else te.CONTINUE


def compile_rules(
    accept_countries: tuple[str, ...],
    reject_countries: tuple[str, ...],
    accept_as_numbers: tuple[int, ...],
    reject_as_numbers: tuple[int, ...],
) -> Rules | None:
    """Compile entries as :func:`read_countries` and :func:`read_as_numbers` return them; None if there are none.

    Raises:
        ConfigurationError: ``'DE' is accepted and rejected: write it once``.
    """
    accepted = frozenset[str | int | None]((*accept_countries, *accept_as_numbers))
    rejected: dict[str | int | None, te.Reject] = {
        **{code: te.Reject(te.Reason.SOURCE, f"country {code}") for code in reject_countries},
        **{number: te.Reject(te.Reason.SOURCE, f"AS{number}") for number in reject_as_numbers},
    }
    for entry in rejected:
        if entry in accepted:
            raise te.ConfigurationError(f"{entry!r} is accepted and rejected: write it once")
    if not accepted and not rejected:
        return None
    return Rules(
        rejected, accepted, bool(accept_countries or reject_countries), bool(accept_as_numbers or reject_as_numbers)
    )


def _of_a_policy(_: object, attribute: "attrs.Attribute[Any]", entries: tuple[object, ...]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise te.ConfigurationError(f"{attribute.name} has more than {MAX_ENTRIES:,} entries")


_RECHECK: Final = {"fate": te.Fate.RECHECK}


@attrs.frozen
class Geoip:
    """The rules of a service, in its policy: the keys of a `GeoIp` without entries of its own.

    Programs write ``GeoRules``, the public name. The class is called like the table, ``[services.shop.geoip]``.

    Attributes:
        accept_countries: as `GeoIp` takes them, at most 1,000.
        reject_countries: the same.
        accept_as_numbers: the same.
        reject_as_numbers: the same.
        rules: all of them, compiled when the policy arrives; None without an entry.
    """

    accept_countries: tuple[str, ...] = attrs.field(
        default=(), converter=read_countries, validator=_of_a_policy, metadata=_RECHECK
    )
    reject_countries: tuple[str, ...] = attrs.field(
        default=(), converter=read_countries, validator=_of_a_policy, metadata=_RECHECK
    )
    accept_as_numbers: tuple[int, ...] = attrs.field(
        default=(), converter=read_as_numbers, validator=_of_a_policy, metadata=_RECHECK
    )
    reject_as_numbers: tuple[int, ...] = attrs.field(
        default=(), converter=read_as_numbers, validator=_of_a_policy, metadata=_RECHECK
    )
    rules: Rules | None = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        rules = compile_rules(
            self.accept_countries, self.reject_countries, self.accept_as_numbers, self.reject_as_numbers
        )
        object.__setattr__(self, "rules", rules)


GeoRules = Geoip


def _entries(values: Any, example: str) -> Iterable[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise te.ConfigurationError(f"{values!r:.80} is no list: write {example}")
    return values


def _read_country(code: Any) -> str:
    if not (isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha()):
        raise te.ConfigurationError(f"{code!r:.80} is no ISO code of a country: write two letters, as in 'DE'")
    upper = code.upper()
    if upper in _MENDS:
        raise te.ConfigurationError(f"{code!r} is no ISO code of a country: write {_MENDS[upper]!r}")
    return upper


def _read_as_number(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_AS_NUMBER:
        raise te.ConfigurationError(
            f"{number!r:.80} is no AS number: write a whole number from 0 to {MAX_AS_NUMBER}, as in 3320"
        )
    return number
