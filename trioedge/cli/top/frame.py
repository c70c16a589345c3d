"""Draw the screen of `top`: lines of text for a terminal of any size. It reads nothing and waits for nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from ..sparkline import sparkline
from ..table import shown
from ..words import amount, count, micros, span
from .sample import Sample, key_of
from .screen import VIEWS, Screen

LABEL: Final = 9
"""Letters before a line of blocks."""

FIGURE: Final = 26
"""Letters behind it."""

SIDE: Final = 6
"""Lines of the refusals and of the stages."""

LEAST_ROWS: Final = 4
"""Rows of the table for which other parts give way."""

NARROW: Final = 60
"""Columns below which the two lists at the foot stand below each other no more: only the refusals are left."""

PHASES: Final = {"serving": "bold green", "starting": "bold yellow", "draining": "bold yellow", "stopped": "bold red"}

KEYS: Final = (("q", "quit"), ("tab", "next"), ("s", "sessions"), ("b", "bytes"), ("↑↓", "choose"), ("e", "evict"))


def frame(screen: Screen, width: int, height: int, clock: str = "") -> list[Text]:
    """Draw the screen: at most `height` lines of at most `width` columns.

    Args:
        screen: its state.
        width: of the terminal.
        height: the same; parts are left out where they do not fit, the rows of the table last.
        clock: the time of day, for the first line.
    """
    sample = screen.sample
    if sample is None:
        head = [_line(Text(screen.lost or "waiting for the edge", "red" if screen.lost else "dim"), width)]
        return [*head, *[Text("")] * max(0, height - 2), _foot(screen, width)][:height]
    head = _head(screen, sample, width, clock)
    history = _history(sample, width)
    side = _side(sample, width)
    room = height - len(head) - 3  # the tabs, the headings and the last line
    for part in (history, side):  # those that fit beside some rows; the history goes first on a low screen
        room -= len(part)
    while room < LEAST_ROWS and (side or history):
        gone = side or history
        room += len(gone)
        gone.clear()
    lines = [*head, *history, *_table(screen, width, max(0, room)), *side, _foot(screen, width)]
    return [*lines[: max(0, height - 1)], lines[-1]] if len(lines) > height else lines


def _line(text: Text, width: int) -> Text:
    """Cut a line to the width."""
    text.no_wrap = True
    text.truncate(max(width, 1), overflow="ellipsis")
    return text


def _spread(left: Text, right: Text, width: int) -> Text:
    """Put two texts at the edges of a line; without room for both only the left one."""
    gap = width - left.cell_len - right.cell_len
    return _line(left, width) if gap < 1 else Text.assemble(left, " " * gap, right, no_wrap=True)


def _head(screen: Screen, sample: Sample, width: int, clock: str) -> list[Text]:
    """Say which edge it is and how it is, and what it does each second."""
    counts, rates = sample.statistics, screen.rates
    name = Text.assemble(
        (f" {shown(counts['edge']) if counts['edge'] else 'trioedge'} ", "bold reverse"),
        "  ",
        ("no answer", "bold red") if screen.lost else (shown(counts["phase"]), PHASES.get(counts["phase"], "bold")),
        (f"  up {span(counts['uptime_seconds'])}", "dim"),
    )
    workers = counts["workers"]
    if len(workers) > 1 or counts["missing"]:
        ready = sum(each["state"] == "ready" for each in workers)
        name.append(
            f"  {ready} of {count(len(workers) + len(counts['missing']), 'worker')}",
            "dim" if ready == len(workers) else "yellow",
        )
    if counts["missing"]:
        name.append(f"  silent: {', '.join(map(str, counts['missing']))}", "bold red")
    first = _spread(name, Text(clock, "dim"), width)
    figures = [
        ("live", f"{counts['live']:,}", "bold cyan"),
        ("new", _a_second(None if rates is None else rates.accepted), "bold"),
        (
            "refused",
            _a_second(None if rates is None else rates.refused),
            "bold red" if rates and rates.refused else "bold",
        ),
        ("up", "-" if rates is None else f"{amount(rates.up)}/s", "bold"),
        ("down", "-" if rates is None else f"{amount(rates.down)}/s", "bold"),
        ("in handshake", f"{counts['in_handshake']:,}", "bold"),
    ]
    second = Text(" ")
    for title, value, style in figures:
        if second.cell_len + len(title) + len(value) + 1 <= width:
            second.append(f"{title} ", "dim").append(value, style).append("   ")
    second.rstrip()
    lines = [first, _line(second, width)]
    if screen.lost:
        lines.append(_line(Text(f" {screen.lost}; trying again", "red"), width))
    return lines


def _a_second(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}/s" if rate >= 9.95 or not rate else f"{rate:.1f}/s"


def _history(sample: Sample, width: int) -> list[Text]:
    """Draw the last minutes: live sessions, new ones, refusals and bytes."""
    points = sample.history
    if len(points) < 2 or width < LABEL + FIGURE + 8:
        return []
    seconds = (points[-1]["at"] - points[0]["at"]) / (len(points) - 1) or 1.0
    live = [point["live"] for point in points]
    plots = (
        ("live", live, "cyan", f"{max(live):,} in {span(seconds * len(points))}"),
        ("new", accepted := [point["accepted"] / seconds for point in points], "green", _a_second(max(accepted))),
        ("refused", refused := [point["refused"] / seconds for point in points], "red", _a_second(max(refused))),
        ("up", up := [point["bytes_up"] / seconds for point in points], "blue", _bytes_a_second(max(up))),
        ("down", down := [point["bytes_down"] / seconds for point in points], "blue", _bytes_a_second(max(down))),
    )
    return [Text(""), *(_plot(*plot, width) for plot in plots), Text("")]


def _bytes_a_second(value: float) -> str:
    return f"{amount(value)}/s"


def _plot(title: str, values: Sequence[float], style: str, highest: str, width: int) -> Text:
    blocks = sparkline(values, min(width - LABEL - FIGURE, 90))
    line = Text.assemble((f" {title:<{LABEL - 1}}", "dim"), (blocks, style), (f"  highest {highest}", "dim"))
    return _line(line, width)


def _table(screen: Screen, width: int, room: int) -> list[Text]:
    """Draw the tabs, the headings and the rows that fit around the chosen one."""
    tabs = Text(" ")
    for view in VIEWS:
        tabs.append(f" {view}s ", "reverse bold" if view == screen.by else "dim").append(" ")
    tabs.append(f"  the most {'sessions' if screen.order == 'live' else 'bytes'} first", "dim")
    figures = [("live", 7), ("rate", 10), ("up", 8), ("down", 8)]
    while len(figures) > 1 and width - sum(size + 1 for _, size in figures) < 18:
        figures.pop()
    names = max(8, min(50, width - 2 - sum(size + 1 for _, size in figures)))
    headings = Text(f" {screen.by:<{names}}", "bold")
    for title, size in figures:
        headings.append(f" {title:>{size}}")
    rows = screen.rows
    places = [key_of(row) for row in rows]
    chosen = places.index(screen.chosen) if screen.chosen in places else 0
    first = min(max(0, chosen - room + 1), max(0, len(rows) - room))
    lines = [_line(tabs, width), _line(headings, width)]
    lines += [_row(screen, row, names, figures, width) for row in rows[first : first + room]]
    if not rows and room:
        lines.append(
            _line(
                Text(" no session is live" if screen.sample and screen.sample.by == screen.by else " ...", "dim"), width
            )
        )
    return lines + [Text("")] * (room + 2 - len(lines))


def _row(screen: Screen, row: Mapping[str, Any], names: int, figures: Iterable[tuple[str, int]], width: int) -> Text:
    rate = None if screen.rates is None else screen.rates.rows.get(key_of(row))
    values = {
        "live": f"{row['live']:,}",
        "rate": "-" if rate is None else f"{amount(rate)}/s",
        "up": amount(row["bytes_up"]),
        "down": amount(row["bytes_down"]),
    }
    name = Text(_name(row))
    name.truncate(names, overflow="ellipsis", pad=True)
    line = Text(" ").append_text(name)
    for title, size in figures:
        line.append(f" {values[title]:>{size}}", "dim" if values[title] in ("0", "0 B", "0 B/s", "-") else "")
    line = _line(line, width)
    if key_of(row) == screen.chosen:
        line.stylize("reverse")
    return line


def _name(row: Mapping[str, Any]) -> str:
    service, name = key_of(row)
    return shown(name) if service is None else f"{shown(name)} of {shown(service)}"


def _side(sample: Sample, width: int) -> list[Text]:
    """Put refusals and stages beside each other, with an empty line above."""
    refusals = _refusals(sample.statistics["refused"])
    if width < NARROW:
        return [Text(""), *(_line(line, width) for line in refusals)]
    half = width // 2
    stages = _stages(sample.stages, width - half)
    lines = [Text("")]
    for number in range(max(len(refusals), len(stages))):
        left = refusals[number] if number < len(refusals) else Text("")
        left.truncate(half - 2, overflow="ellipsis")
        left.pad_right(half - left.cell_len)
        lines.append(_line(left.append_text(stages[number]) if number < len(stages) else left, width))
    return lines


def _refusals(refused: Mapping[str, int]) -> list[Text]:
    most = sorted(refused.items(), key=lambda each: -each[1])
    lines = [Text(f" refused since the start: {sum(refused.values()):,}", "bold")]
    wide = max((len(reason) for reason, _ in most), default=0)
    lines += [
        Text.assemble(f" {shown(reason):<{wide}} ", (f"{number:>9,}", "red")) for reason, number in most[: SIDE - 1]
    ]
    return lines


def _stages(stages: Sequence[Mapping[str, Any]], width: int) -> list[Text]:
    lines = [Text("an admission takes", "bold")]
    most = sorted(stages, key=lambda each: -(each["share"] or 0))[: SIDE - 1]
    names = max(8, min(max((len(shown(each["stage"])) for each in most), default=8), width - 28))
    for each in most:
        name = Text(shown(each["stage"]))
        name.truncate(names, overflow="ellipsis", pad=True)
        share = each["share"] or 0.0
        bar = "█" * round(share * max(0, min(10, width - names - 20)))
        took = micros(each["p50_micros"] if each["calls"] else None)
        lines.append(name.append(f" {took:>7} {share:>5.0%} ", "dim").append(bar, "magenta"))
    return lines


def _foot(screen: Screen, width: int) -> Text:
    """Ask what is asked, say what was done, or name the keys."""
    if screen.asking and screen.row is not None:
        row = screen.row
        question = f" Cut {count(row['live'], 'session')} of {screen.by} {_name(row)}? y cuts, any other key does not"
        return _line(Text(question, "bold black on yellow"), width)
    if screen.said:
        return _line(Text(f" {screen.said}", "bold"), width)
    foot = Text(" ")
    for key, what in KEYS:
        if foot.cell_len + len(key) + len(what) + 3 <= width:
            foot.append(key, "bold").append(f" {what}   ", "dim")
    foot.rstrip()
    return _line(foot, width)
