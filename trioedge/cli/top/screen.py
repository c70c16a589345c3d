"""What `top` shows and does at each key.

| state     | key                      | what happens                                          |
|-----------|--------------------------|-------------------------------------------------------|
| looking   | q, Ctrl-D                | ends                                                  |
| looking   | tab, right / left        | the next / the former of sources, services, devices   |
| looking   | s / b                    | the most sessions / the most bytes first              |
| looking   | up, down, k, j, pages... | another row                                           |
| looking   | e                        | asking, if a row is chosen                            |
| asking    | y                        | looking; the sessions of the row are cut              |
| asking    | any other                | looking; nothing is cut                               |
"""

from typing import Any, Final, get_args

import attrs

from .sample import By, Key, Order, Rates, Sample, key_of, rates

VIEWS: Final[tuple[By, ...]] = get_args(By)

PAGE: Final = 10

STEPS: Final = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -PAGE, "pagedown": PAGE, "home": -(10**6), "end": 10**6}

NEXT: Final = {"tab": 1, "right": 1, "l": 1, "left": -1, "backtab": -1, "h": -1}

ORDERS: Final[dict[str, Order]] = {"s": "live", "b": "bytes"}


@attrs.define
class Screen:
    """The state of the screen; it waits for nothing.

    Attributes:
        by: which rows are shown.
        order: which of them are first.
        sample: the last answers; None before the first.
        rates: between the last two; None where they are not known.
        chosen: what the chosen row is of; None before one is chosen.
        asking: whether it waits for the answer to a question.
        ended: whether the user wants it to end.
        lost: why the edge gave no answer; empty while it does.
        said: what the last action did.
    """

    by: By = "source"
    order: Order = "live"
    sample: Sample | None = None
    rates: Rates | None = None
    chosen: Key | None = None
    asking: bool = False
    ended: bool = False
    lost: str = ""
    said: str = ""

    def take(self, sample: Sample) -> None:
        """Take the next answers."""
        self.rates = None if self.sample is None else rates(self.sample, sample)
        self.sample = sample
        self.lost = ""

    def lose(self, why: str) -> None:
        """Take that the edge gave no answer; the last ones stay."""
        self.rates = None
        self.lost = why.partition(": ")[0]  # the mend is too long for a screen

    def press(self, key: str) -> dict[str, Any] | None:
        """Take a key; give what to evict, as the API wants it, if the user has confirmed it."""
        self.said = ""
        if self.asking:
            self.asking = False
            return self._named() if key in ("y", "Y") else None
        match key:
            case "q":
                self.ended = True
            case "e":
                self.asking = self.row is not None
            case "s" | "b":
                self.order = ORDERS[key]
            case _ if key in NEXT:
                self.by = VIEWS[(VIEWS.index(self.by) + NEXT[key]) % len(VIEWS)]
                self.chosen = None
            case _ if key in STEPS:
                self._step(STEPS[key])
        return None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows that are shown; none until those of the chosen kind have come."""
        return self.sample.rows if self.sample is not None and self.sample.by == self.by else []

    @property
    def row(self) -> dict[str, Any] | None:
        """The chosen row; None if none is, or it is no more."""
        return next((row for row in self.rows if key_of(row) == self.chosen), None)

    def _step(self, step: int) -> None:
        keys = [key_of(row) for row in self.rows]
        if not keys:
            return
        place = keys.index(self.chosen) + step if self.chosen in keys else 0
        self.chosen = keys[min(max(place, 0), len(keys) - 1)]

    def _named(self) -> dict[str, Any] | None:
        if self.row is None:
            self.said = "it has no session any more"
            return None
        service, name = key_of(self.row)
        return {self.by: name} if service is None else {"service": service, self.by: name}
