"""Good plugins pass their check, and a bad one is named with its fault."""

import os
import sys
import textwrap
from collections.abc import Callable

import pytest

import trioedge as te
from tests.support.packages import Packages, plugin
from trioedge.plugins import load
from trioedge.testing import check_plugin
from trioedge.testing.plugin_checks import check_part, check_words, plugin_named

HOURS = '''\
import time
import trioedge as te

class Hours:
    """Refuse sessions outside of some hours."""

    def __init__(self, since: int = 8, until: int = 18) -> None:
        """Set the hours.

        Args:
            since: the first hour, 0 to 23.
            until: the hour at which it ends, 1 to 24.
        """
        te.check_count("Hours", "since", since, minimum=0, maximum=23)
        te.check_count("Hours", "until", until, minimum=1, maximum=24)
        self.since, self.until = since, until

    def __repr__(self) -> str:
        return f"Hours(since={self.since}, until={self.until})"

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE
'''


@pytest.fixture
def install(packages: Packages) -> Callable[..., None]:
    """Give the function that installs the plugin `part`."""

    def install(text: str, group: str = "stages", name: str = "part", value: str = "Part") -> None:
        text = "import trio\nimport trioedge as te\n" + textwrap.dedent(text)
        packages.add("trioedge-part", entry_points=plugin(group, name, f"trioedge_part:{value}"), trioedge_part=text)

    return install


Install = Callable[..., None]


def fault(name: str = "part", /, **arguments: object) -> str:
    """Give the promise that a plugin breaks, without the name of its package."""
    with pytest.raises(AssertionError) as caught:
        check_plugin(name, **arguments)  # type: ignore[arg-type]  # the plugin's own arguments
    return str(caught.value).removeprefix("trioedge-part 0.1.0: ")


def check(kit: dict[str, object] | None = None, **arguments: object) -> None:
    """Check the plugin `part` without the import in a process of its own, which takes a second."""
    found = plugin_named("part", None)
    maker = load(found)
    check_words(found, maker)
    check_part(found, maker, arguments, kit)


def part_fault(kit: dict[str, object] | None = None, **arguments: object) -> str:
    """The fault of such a check."""
    with pytest.raises(AssertionError) as caught:
        check(kit if kit is not None else {}, **arguments)
    return str(caught.value).removeprefix("trioedge-part 0.1.0: ")


def test_a_decision_passes(install: Install) -> None:
    install(HOURS, value="Hours")
    check_plugin("part")
    check_plugin("trioedge_part:part", kind="stage", since=9)


GOOD = {
    "stages": [
        """
        @te.decision
        def Part(session):
            return te.CONTINUE
        """,
        """
        class Part:
            kind = "decision"
            requires = ("service", "device")
            listeners = ("tcp://127.0.0.1:7",)
            needs_control = True
            def __repr__(self): return "Part()"
            def open(self, context): return Live()
        class Live:
            def decide(self, session): return te.CONTINUE
            async def run(self, *, task_status):
                await trio.to_thread.run_sync(int)
                task_status.started()
                while True:
                    await trio.sleep(3600)
        """,
        """
        class Part:
            def __repr__(self): return "Part()"
            def converse(self, session):
                yield te.Read(1)
                return te.CONTINUE
        """,
        """
        class Part:
            def __repr__(self): return "Part()"
            async def handle(self, session, call_next):
                with trio.move_on_after(60):
                    return await call_next(session)
                return te.Completed()
        """,
        """
        def Part():
            @te.decision
            def decide(session): return te.CONTINUE
            return decide
        """,
    ],
    "endpoints": [
        """
        class Part:
            def __repr__(self): return "Part()"
            async def handle(self, session):
                await session.stream.send_all(b"hello")
                return te.Completed()
        """,
    ],
    "controls": [
        """
        class Part:
            def __repr__(self): return "Part()"
            async def run(self, link, /, *, task_status):
                await link.apply(te.Snapshot({"default": te.Settings()}))
                link.reached()
                task_status.started()
                await trio.sleep_forever()
        """,
    ],
    "observers": [
        """
        class Part:
            def __repr__(self): return "Part()"
            async def observe(self, batch): await trio.sleep(0)
        """,
    ],
    "outbounds": [
        """
        class Part:
            def __repr__(self): return "Part()"
            async def connect(self, address):
                return await trio.open_tcp_stream(address.host, address.port)
        """,
    ],
}


@pytest.mark.parametrize(("group", "text"), [(group, text) for group in GOOD for text in GOOD[group]])
def test_a_part_of_each_kind_passes(group: str, text: str, install: Install) -> None:
    install(text, group)
    check({})


def test_the_arguments_of_the_check_of_a_kind_are_its_kit(install: Install) -> None:
    install(GOOD["stages"][2])
    check({"messages": [b"x"]})
    assert "needs more than b''" in part_fault({"messages": [b""]})


DECIDES = "def decide(self, session): return te.CONTINUE"
PLAIN = f"""
class Part:
    def __repr__(self): return "Part()"
    {DECIDES}
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
            "starts 1 threads: do that in open() or run(), because an edge may fork after it has imported",
        ),
        ("import os; os.dup(0)", "open: do that in open() or run(), because an edge may fork"),
        ("import time; time.sleep(3)", "sleeps: do that in run()"),
        ("exec('from time import process_time as t; end = 2 * t()\\nwhile t() < end: pass')", "times as long as to"),
        ("1 / 0", "trioedge_part cannot be imported in a process of its own: ZeroDivisionError: division by zero"),
    ],
)
def test_a_bad_import_is_named(text: str, says: str, install: Install) -> None:
    install(f"import sys\nif 'pytest' not in sys.modules: {text}\n{PLAIN}")  # in the process that the check starts
    assert says in fault()


def test_a_plugin_that_cannot_be_imported_has_failed(install: Install) -> None:
    install("import not_there")
    assert fault().startswith("trioedge-part 0.1.0 cannot be imported: it needs the module 'not_there'")


def of(arguments: str = "", words: str = "", body: str = "pass", more: str = "") -> str:
    """A decision whose constructor has arguments, words about them, and a body; and more methods."""
    body = textwrap.indent(body, " " * 8)
    return (
        f'class Part:\n    def __init__(self, {arguments}) -> None:\n        """Make it.\n\n        Args:\n'
        f'            x: {words}\n        """\n{body}\n    def __repr__(self): return "Part()"\n    {DECIDES}\n{more}'
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (of("y: int = 3"), "Part has no words for 'y': write it below Args: in its docstring"),
        (of("x: int = 3", "three."), "Part(x='no such word') is accepted, and it has a wrong type: raise te."),
        (of("x: int = 3", "three.", "x + 0"), "Part(x='no such word') raises TypeError("),
        (of("x: int = 3", "three.", "te.check_number('Part', 'x', x)"), "Part(x=2.5) is accepted, and it has a wrong"),
        (
            of("x: int = 3", "3, above 0.", "te.check_count('Part', 'x', x, minimum=0)"),
            "Part(x=0) is accepted, and its words say 'above 0': raise te.ConfigurationError with one line",
        ),
        (of("x: int = 9", "from 1 to 65,535.", "te.check_count('Part', 'x', x)"), "Part(x=65536) is accepted, and its"),
        (
            of("x: float = 9", "at least 0.", "te.check_number('Part', 'x', x, minimum=-7)"),
            "Part(x=-1) is accepted, and its words say 'at least 0'",
        ),
        (of("x: str = 'x'", "1 to 9 letters.", "te.check_text('Part', 'x', x)"), "Part(x='xxxxxxxxxx') is accepted"),
        (of("x: bool = True", "whether.", "bool(x)"), "Part(x='no such word') is accepted"),
        (
            of("x: int = 3", "three.", "if not isinstance(x, int): raise te.ConfigurationError('a\\nb')"),
            "the error of Part(x='no such word') has several lines: write one",
        ),
        (f"class Part:\n    {DECIDES}", "must begin with Part, as in Part(since=8), because trioedge check prints it"),
        (
            of(body="import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"),
            "to make Part starts a thread: do that in open() or run(), because an edge may fork after it is made",
        ),
        (
            PLAIN + "    async def run(self, *, task_status): await trio.sleep_forever()",
            "the worker of 'part' does not start: call task_status.started() once it is at work",
        ),
        (
            PLAIN + "    async def run(self, *, task_status):\n        task_status.started()\n"
            "        with trio.CancelScope(shield=True): await trio.sleep(30)",
            "the worker of 'part' ends 30 s after a cancel: do not shield what may take so long",
        ),
        (PLAIN.replace("te.CONTINUE", "True"), "True is neither CONTINUE nor a Reject"),
        (PLAIN.replace("decide(self, session)", "decide(self)"), "decide() must take the session and nothing else"),
    ],
)  # fmt: skip
def test_a_bad_part_is_named(text: str, says: str, install: Install) -> None:
    install(text)
    assert says in part_fault()


@pytest.mark.parametrize("name", ["Part", "1part", "part_", "pa.rt", "part-", "pa--rt"])
def test_a_name_of_other_letters_is_refused(name: str, install: Install) -> None:
    install(PLAIN, name=name)
    assert "must be lower-case letters, digits and hyphens, a letter first" in fault(name)


def test_a_part_that_opens_a_file_when_it_is_made_is_named(install: Install) -> None:
    install(of(body="import os\nPart.kept = os.open('/dev/null', os.O_RDONLY)"))
    says = part_fault()
    os.close(sys.modules["trioedge_part"].Part.kept)
    assert says.startswith("to make Part leaves /dev/null open: do that in open() or run(), because an edge may fork")


def test_an_argument_without_a_default_has_to_be_given(install: Install) -> None:
    install(of("x: int", "three."))
    assert fault() == "trioedge-part 0.1.0 needs arguments: write check_plugin('part', x=…)"


def test_a_secret_is_given_as_an_edge_toml_gives_it(install: Install) -> None:
    install("import trioedge as te\n" + of("x: te.Secret", "three."))
    assert "an edge.toml gives x as a te.Secret: write x=te.Secret(file=…)" in fault(x="sesame")


def test_a_part_itself_takes_no_arguments(install: Install) -> None:
    install(GOOD["stages"][0])
    assert part_fault(since=3) == "Part is a part itself, and takes no arguments"


@pytest.mark.parametrize(
    ("text", "group", "says"),
    [
        (GOOD["endpoints"][0].replace("te.Completed()", "None"), "endpoints", "returned None: return Completed()"),
        (GOOD["controls"][0].replace("link.reached()", "return"), "controls", "run returned before it had a snapshot"),
        (GOOD["observers"][0].replace("sleep(0)", "sleep_forever()"), "observers", "did not return within an hour"),
        (GOOD["outbounds"][0].replace("return await", "await"), "outbounds", "Part returned None"),
        (GOOD["stages"][3].replace("return await call_next(session)", "await call_next(session); return 3"), "stages",
         "returned 3: `return await call_next(session)`"),
    ],
)  # fmt: skip
def test_a_part_that_fails_the_check_of_its_kind_is_named(text: str, group: str, says: str, install: Install) -> None:
    install(text, group)
    assert says in part_fault()
    check(kit=None)


def test_an_outbound_is_connected_where_its_kit_says(install: Install) -> None:
    install(GOOD["outbounds"][0], "outbounds")
    assert "for tcp://127.0.0.1:1, which accepts" in part_fault({"address": "tcp://127.0.0.1:1"})


def test_a_name_of_two_kinds_needs_the_kind(packages: Packages) -> None:
    packages.add("two", entry_points=plugin("stages", "part", "two:A") + plugin("endpoints", "part", "two:B"))
    with pytest.raises(te.ConfigurationError, match="'part' is a stage and an endpoint: give kind='stage'"):
        check_plugin("part")
    assert plugin_named("part", "endpoint").value == "two:B"


def test_two_packages_with_one_name_are_told_apart(packages: Packages) -> None:
    for name in ("one", "two"):
        packages.add(name, entry_points=plugin("stages", "part", f"{name}:Part"))
    with pytest.raises(te.ConfigurationError, match=r"names 2 plugins, of one 0\.1\.0 and of two 0\.1\.0"):
        check_plugin("part")
    assert plugin_named("Two:part", None).value == "two:Part"


@pytest.mark.parametrize(("name", "kind"), [("part", None), ("pacing", None), ("other:part", "stage")])
def test_a_plugin_that_is_not_installed_is_no_failed_check(name: str, kind: str | None) -> None:
    with pytest.raises(te.ConfigurationError, match=f"no plugin '{name}' is installed: pip install -e . installs the"):
        check_plugin(name, kind=kind)


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(te.ConfigurationError, match="kind='stages' must be 'stage' or 'endpoint' or"):
        check_plugin("part", kind="stages")


async def test_a_test_that_awaits_is_told_to_be_plain() -> None:
    with pytest.raises(AssertionError, match="check_plugin runs Trio itself: call it in a plain def test"):
        check_plugin("part")
