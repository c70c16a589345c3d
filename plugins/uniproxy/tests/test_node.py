"""A real edge as a node of a panel: who comes in, what changes while sessions live, and what the books say."""

import random
import re

import pytest
import trio
import trioedge as te
from fake_panel import ALICE, BOB, FakePanel, user
from socks_edge import Client, Node, node, until

from trioedge_uniproxy import answers
from trioedge_uniproxy import control as module


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_SECONDS", 0.01)
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "MAX_USER_BYTES", 1_000_000)


async def pulled(panel: FakePanel, at: Node) -> None:
    """Have the node pull, and wait until it has applied what came."""
    await until(lambda: panel.count("GET alivelist"))  # of the first pull
    before = len(panel.requests)
    at.control.reload()
    await until(lambda: ("GET alivelist", 200) in panel.requests[before:])


# Who comes in.


async def test_users_log_in_with_their_uuid_and_no_one_else() -> None:
    panel = FakePanel(user(7, ALICE), user(8, BOB))
    async with panel.open(), node(panel) as at:
        await (await at.connect(ALICE)).talk(100)
        assert [session.service.name for session in at.edge.sessions] == ["7"]
        for name, password in (("7", ALICE), (ALICE, BOB), ("stranger", ALICE), (ALICE, ""), ("", "")):
            assert await at.refuses(name, password=password), (name, password)
        assert set(at.edge.services) == {"7", "8"}


async def test_limits_of_users_become_policies() -> None:
    panel = FakePanel(user(7, ALICE, 8, 2), user(8, BOB, None, 0), user(9, BOB[::-1], "0.5", "3"))
    async with panel.open(), node(panel) as at:
        policies = {name: each.policy for name, each in at.edge.services.items()}
        assert policies == {
            "7": te.Policy(down_rate=1_000_000, up_rate=1_000_000, device_limit=2),
            "8": te.Policy(),
            "9": te.Policy(down_rate=62_500, up_rate=62_500, device_limit=3),
        }


# Changes while sessions live.


async def test_a_changed_speed_retunes_a_live_session_and_a_removed_user_loses_it() -> None:
    panel = FakePanel(user(7, ALICE, 80), user(8, BOB))
    async with panel.open(), node(panel, allow_removal=True) as at:
        alice, bob = await at.connect(ALICE), await at.connect(BOB)
        await alice.talk(10)
        (session,) = at.edge.sessions.matching(service="7")
        await until(lambda: session.down_rate == session.up_rate == 10_000_000)
        panel.users = [user(7, ALICE, 8), user(8, BOB)]
        await pulled(panel, at)
        await until(lambda: session.down_rate == session.up_rate == 1_000_000)
        panel.users = [user(8, BOB)]
        await pulled(panel, at)
        assert await alice.ended()
        assert await at.refuses(ALICE)
        await bob.talk(10)


async def test_a_changed_uuid_ends_the_sessions_of_the_former_one() -> None:
    panel = FakePanel(user(7, ALICE))
    async with panel.open(), node(panel) as at:
        alice = await at.connect(ALICE)
        panel.users = [user(7, BOB)]
        await pulled(panel, at)
        assert await alice.ended()
        assert await at.refuses(ALICE)
        await (await at.connect(BOB)).talk(10)


async def test_a_lowered_device_limit_cuts_the_newest_device() -> None:
    panel = FakePanel(user(7, ALICE, None, 2))
    async with panel.open(), node(panel) as at:
        first, second = await at.connect(ALICE, "127.0.0.1"), await at.connect(ALICE, "127.0.0.2")
        panel.users = [user(7, ALICE, None, 1)]
        await pulled(panel, at)
        assert await second.ended()
        await first.talk(10)


async def test_what_has_not_changed_is_neither_sent_nor_applied_again() -> None:
    panel = FakePanel(user(7, ALICE))
    async with panel.open(), node(panel) as at:
        await pulled(panel, at)
        await pulled(panel, at)
        assert (panel.count("GET user"), panel.count("GET user", 304)) == (1, 2)
        assert panel.count("GET config", 304) == 2
        assert at.edge.snapshots.value == 1
        before = at.edge.services["7"].settings
        panel.users = [user(7, ALICE), user(8, BOB)]
        await pulled(panel, at)
        assert at.edge.services["7"].settings is before  # its hash is not another one, and nothing is compared


# Devices on all nodes.


async def test_a_third_device_over_two_nodes_is_refused_until_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DENIED_SECONDS", 0.01)
    panel = FakePanel(user(7, ALICE, None, 2), user(8, BOB, None, 1))
    async with panel.open(), node(panel, push_seconds=0.03) as one, node(panel, push_seconds=0.03, node_id=2) as other:
        first = await one.connect(ALICE, "127.0.0.1")
        await until(lambda: panel.addresses["1"].get("7") == ["127.0.0.1"])
        await pulled(panel, other)
        second = await other.connect(ALICE, "127.0.0.2")
        assert await other.refuses(ALICE, "127.0.0.3")
        await (await other.connect(ALICE, "127.0.0.2")).talk(10)  # it has its place
        await until(lambda: panel.addresses["2"].get("7") == ["127.0.0.2"])
        await pulled(panel, one)
        assert await one.refuses(ALICE, "127.0.0.3")
        await first.talk(10)
        await second.talk(10)
        await (await one.connect(BOB, "127.0.0.3")).talk(10)  # another user has places of its own

        await first.stream.aclose()
        await until(lambda: panel.addresses["1"].get("7") == [])
        await pulled(panel, other)
        await trio.sleep(1.1)  # a verdict lasts a second at least
        await (await other.connect(ALICE, "127.0.0.3")).talk(10)


async def test_addresses_are_told_and_users_that_have_left_have_none() -> None:
    panel = FakePanel(user(7, ALICE), user(8, BOB))
    async with panel.open():
        async with node(panel, push_seconds=0.03) as at:
            alice = [await at.connect(ALICE, source) for source in ("127.0.0.1", "127.0.0.2", "127.0.0.2")]
            bob = await at.connect(BOB)
            told = {"7": ["127.0.0.1", "127.0.0.2"], "8": ["127.0.0.1"]}
            await until(lambda: panel.addresses["1"] == told)
            await alice[0].stream.aclose()
            await bob.stream.aclose()
            await until(lambda: panel.addresses["1"] == {"7": ["127.0.0.2"], "8": []})
        assert panel.addresses["1"] == {"7": [], "8": []}  # it drained


async def test_without_a_device_limit_in_the_chain_addresses_are_told_as_well() -> None:
    panel = FakePanel(user(7, ALICE))
    async with panel.open(), node(panel, te.Socks(auth="services"), push_seconds=0.03) as at:
        alice = await at.connect(ALICE, "127.0.0.2")
        await until(lambda: panel.addresses["1"] == {"7": ["127.0.0.2"]})
        await alice.stream.aclose()
        await until(lambda: panel.addresses["1"] == {"7": []})


async def test_addresses_of_an_earlier_run_of_the_node_count_for_no_one() -> None:
    panel = FakePanel(user(7, ALICE, None, 1))
    panel.addresses["1"] = {"7": ["127.0.0.9"]}  # the node was killed, and the panel still counts its addresses
    async with panel.open(), node(panel) as at:
        await (await at.connect(ALICE)).talk(10)
        await until(lambda: panel.addresses["1"] == {"7": []} or panel.addresses["1"] == {"7": ["127.0.0.1"]})


async def test_the_load_of_the_machine_is_told() -> None:
    panel = FakePanel(user(7, ALICE))
    async with panel.open(), node(panel, push_seconds=0.03):
        await until(lambda: panel.statuses)
    assert set(panel.statuses[0]) == {"cpu", "mem", "swap", "disk"}


# Books.


class Crowd:
    """Clients of several users, whose bytes are counted here and by the panel."""

    def __init__(self) -> None:
        self.by_user: dict[str, list[Client]] = {}
        self._uuids = {"7": ALICE, "8": BOB}

    async def talk(self, at: Node, dice: random.Random) -> None:
        for uid, uuid in self._uuids.items():
            for _ in range(2):
                client = await at.connect(uuid)
                self.by_user.setdefault(uid, []).append(client)
                await client.talk(dice.randrange(1, 50_000))

    async def leave(self) -> None:
        for clients in self.by_user.values():
            for client in clients:
                await client.stream.aclose()

    def totals(self) -> dict[str, list[int]]:
        return {
            uid: [sum(client.up for client in clients), sum(client.down for client in clients)]
            for uid, clients in self.by_user.items()
        }


async def test_the_books_of_the_panel_are_equal_to_the_byte_when_the_edge_has_drained() -> None:
    panel, crowd, dice = FakePanel(user(7, ALICE), user(8, BOB)), Crowd(), random.Random(1)
    async with panel.open():
        async with node(panel, push_seconds=0.03) as at:
            for _ in range(4):
                await crowd.talk(at, dice)
                await trio.sleep(0.05)
            assert dict(panel.books) != {}
        assert dict(panel.books) == crowd.totals()


async def test_what_is_left_is_pushed_at_once_when_the_last_session_has_ended() -> None:
    panel, crowd = FakePanel(user(7, ALICE), user(8, BOB)), Crowd()
    async with panel.open(), node(panel) as at:  # the interval is a minute
        await crowd.talk(at, random.Random(2))
        await trio.sleep(0.1)
        assert panel.count("POST push") == 0
        await crowd.leave()
        await until(lambda: dict(panel.books) == crowd.totals())


@pytest.mark.parametrize("fault", [503, 429, 404, 302])
async def test_a_push_that_the_panel_refuses_is_sent_again(fault: int) -> None:
    panel, crowd, dice = FakePanel(user(7, ALICE), user(8, BOB)), Crowd(), random.Random(3)
    async with panel.open():
        async with node(panel, push_seconds=0.03) as at:
            panel.faults["push"].extend([fault, fault])
            await crowd.talk(at, dice)
            await until(lambda: panel.count("POST push"))
            assert panel.count("POST push", fault) == 2
            await crowd.talk(at, dice)
        assert dict(panel.books) == crowd.totals()


async def test_bytes_wait_while_the_panel_is_down() -> None:
    panel, crowd, dice = FakePanel(user(7, ALICE), user(8, BOB)), Crowd(), random.Random(4)
    async with trio.open_nursery() as nursery:
        down = trio.CancelScope()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            with down:
                async with panel.open():
                    task_status.started()
                    await trio.sleep_forever()

        await nursery.start(serve)
        async with node(panel, push_seconds=0.03, request_seconds=1) as at:
            down.cancel()
            await trio.sleep(0.05)
            await crowd.talk(at, dice)
            await until(lambda: "push" in at.edge.control_state().error)
            await (await at.connect(ALICE)).talk(10)
            crowd.by_user["7"][0].up += 10
            crowd.by_user["7"][0].down += 20
            assert dict(panel.books) == {}
            down = trio.CancelScope()
            await nursery.start(serve)
            await until(lambda: panel.books)
            at.control.reload()  # the first question for devices elsewhere may have failed
            await until(lambda: at.edge.control_state().error == "")
        assert dict(panel.books) == crowd.totals()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fault", ["counted", "reset"])
async def test_a_push_that_was_counted_but_not_answered_is_not_sent_again(fault: str) -> None:
    panel, crowd, dice = FakePanel(user(7, ALICE), user(8, BOB)), Crowd(), random.Random(5)
    async with panel.open():
        async with node(panel, push_seconds=0.05, request_seconds=0.3) as at:
            panel.faults["push"].append(fault)
            await crowd.talk(at, dice)
            await until(lambda: "may have counted" in at.edge.control_state().error)
            await crowd.talk(at, dice)
        assert panel.count("POST push", 0) == 1
        assert dict(panel.books) == crowd.totals()


@pytest.mark.parametrize("fault", ["hang", 500, 502])
async def test_a_push_that_may_have_been_counted_is_dropped_and_no_byte_is_billed_twice(fault: str | int) -> None:
    panel, dice = FakePanel(user(7, ALICE), user(8, BOB)), random.Random(6)
    lost, kept = Crowd(), Crowd()
    async with panel.open():
        async with node(panel, push_seconds=0.05, request_seconds=0.3) as at:
            panel.always["push"] = fault
            await lost.talk(at, dice)
            await until(lambda: "may have counted" in at.edge.control_state().error)
            await trio.sleep(0.5)  # all of it was in a push that failed
            del panel.always["push"]
            await kept.talk(at, dice)
        assert dict(panel.books) == kept.totals()


# A panel that is down, slow or wrong.


async def test_an_edge_waits_for_its_first_users_and_says_why() -> None:
    panel = FakePanel(user(7, ALICE))
    panel.faults["user"].extend([500, "nonsense", "cut"])
    async with panel.open(), node(panel) as at:
        await (await at.connect(ALICE)).talk(10)
        assert [status for request, status in panel.requests if request == "GET user"][:4] == [500, 200, 200, 200]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (500, r"GET http://127.0.0.1:\d+/api/v1/server/UniProxy/user: status 500"),
        ("nonsense", "no JSON with a list of users"),
        ("cut", "user: "),
        ("huge", "more than 1,000,000 bytes"),
        ("hang", "no answer within 0.5 s"),
    ],
)
async def test_a_panel_that_fails_later_costs_no_one_anything(fault: str | int, says: str) -> None:
    panel = FakePanel(user(7, ALICE))
    async with panel.open(), node(panel, request_seconds=0.5) as at:
        alice = await at.connect(ALICE)
        panel.users = [user(7, ALICE), user(8, BOB)]  # so that the answer is not 304
        panel.always["user"] = fault
        at.control.reload()
        await until(lambda: at.edge.control_state().error)
        assert re.search(says, at.edge.control_state().error)
        await alice.talk(10)
        await (await at.connect(ALICE)).talk(10)
        del panel.always["user"]
        await until(lambda: "8" in at.edge.services)
        await until(lambda: at.edge.control_state().error == "")


@pytest.mark.parametrize(
    ("users", "says"),
    [
        ([], "it would remove the only service: if that is meant, write allow_removal"),
        ("oops", "no JSON with a list of users"),
        ([user(7, "short")], r"users\[0\].uuid is no random secret of 22 to 1,024 letters"),
        ([user(7, ALICE, -5)], r"users\[0\].speed_limit = -5 is no number of at least 0"),
        ([user(7, ALICE), user(7, BOB)], r"users\[1\] has the id or the uuid of an earlier one"),
    ],
)
async def test_a_wrong_list_of_users_changes_nothing(users: object, says: str) -> None:
    panel = FakePanel(user(7, ALICE, 8))
    async with panel.open(), node(panel) as at:
        panel.users = users
        at.control.reload()
        await until(lambda: at.edge.control_state().error)
        assert re.search(says, at.edge.control_state().error)
        assert "GET http://127.0.0.1" in at.edge.control_state().error
        assert ALICE not in at.edge.control_state().error
        await (await at.connect(ALICE)).talk(10)
        assert at.edge.services["7"].policy.down_rate == 1_000_000


async def test_with_allow_removal_a_panel_may_remove_all_users() -> None:
    panel = FakePanel(user(7, ALICE))
    async with panel.open(), node(panel, allow_removal=True) as at:
        alice = await at.connect(ALICE)
        panel.users = []
        await pulled(panel, at)
        assert await alice.ended()
        assert set(at.edge.services) == set()


async def test_an_older_panel_that_knows_neither_addresses_nor_status_is_asked_once_for_each() -> None:
    panel = FakePanel(user(7, ALICE))
    panel.always |= {"alivelist": 404, "alive": 404, "status": 404}
    async with panel.open(), node(panel, push_seconds=0.03) as at:
        alice = await at.connect(ALICE)
        await alice.talk(10)
        await until(lambda: panel.count("POST push"))
        await alice.talk(10)
        await until(lambda: panel.count("POST push") == 2)
        assert at.edge.control_state().error == ""
    assert [panel.count(request, 404) for request in ("GET alivelist", "POST alive", "POST status")] == [1, 1, 1]


@pytest.mark.parametrize("config", [[], {"base_config": 5}, {"base_config": {"push_interval": "soon"}}])
async def test_intervals_that_are_nonsense_are_said_and_the_former_ones_stay(config: object) -> None:
    panel = FakePanel(user(7, ALICE))
    panel.config = config
    async with panel.open(), node(panel) as at:
        await until(lambda: "/config: " in at.edge.control_state().error)
        await (await at.connect(ALICE)).talk(10)


async def test_the_intervals_are_those_of_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MIN_SECONDS", 0.01)
    panel = FakePanel(user(7, ALICE))
    panel.config = {"base_config": {"push_interval": "0.02", "pull_interval": 0.02}}
    async with panel.open(), node(panel):
        await until(lambda: panel.count("GET user", 304) > 2)
        await until(lambda: len(panel.statuses) > 1)
