"""Users who log in at a worker, and whose services the control process knows."""

import hashlib
from typing import Any, cast

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.worker_edges import Kept, by_source
from tests.support.workers import open_workers
from trioedge.services.control_plane import AsksForUsers
from trioedge.workers.member_users import MemberUsers


async def test_a_user_is_known_in_every_worker(autojump_clock: trio.testing.MockClock) -> None:
    control = Kept({"shop": te.Policy()})
    async with open_workers(by_source, control) as world:
        there: Any = world.workers[0].part.control
        assert isinstance(there, AsksForUsers)
        assert not there.knows_user("ann")
        await there.find_user("ann")
        await there.find_user("bob")
        assert (there.service_of("ann"), there.service_of("bob")) == ("shop", None)
        assert there.knows_user("ann")
        world.kill_hub()
        await trio.sleep(20)
        assert not there.knows_user("ann")
        await there.find_user("ann")
        assert there.service_of("ann") == "shop", "the last answer, because there is no control process"


async def test_an_answer_to_a_question_of_before_a_snapshot_is_asked_for_again() -> None:
    users = MemberUsers("edge")

    class Channel:
        async def ask(self, topic: str, body: object, seconds: float) -> str:
            users.forget()
            return "shop"

    await users.find("ann", cast(Any, Channel()))
    assert (users.service_of("ann"), users.is_known("ann")) == ("shop", False)


@pytest.mark.parametrize(("user", "password", "answer"), [("ann", "word", 0), ("ann", "wrong", 1)])
async def test_a_login_asks_the_control_process_for_a_user_that_the_worker_does_not_know(
    user: str, password: str, answer: int, autojump_clock: trio.testing.MockClock
) -> None:
    digest = "sha256:" + hashlib.sha256(b"word").hexdigest()
    control = Kept({"shop": te.Settings(te.Policy(), te.Credentials(digest))})

    def make(control: te.ControlPlane | None) -> te.Edge:
        return te.Edge("tcp://127.0.0.1:0", [te.Socks(auth="services")], te.Forward(), control=control)

    async with open_workers(make, control) as world:
        client = await world.workers[1].world.connect()
        await client.send(b"\x05\x01\x02")
        assert await client.receive(2) == b"\x05\x02"
        await client.send(bytes([1, len(user)]) + user.encode() + bytes([len(password)]) + password.encode())
        assert await client.receive(2) == bytes([1, answer])
        if not answer:
            assert client.session.service.name == "shop"
