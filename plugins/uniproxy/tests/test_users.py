"""The list of users: read one by one, with every fault named by its place, and never a uuid in a message."""

import json
from typing import Any

import pytest
import trioedge as te
from fake_panel import ALICE, BOB, user
from hypothesis import given
from hypothesis import strategies as st

from trioedge_uniproxy import users as module
from trioedge_uniproxy.errors import PanelError
from trioedge_uniproxy.users import USERS_PER_STEP, User, Users, number_of, read_users


def read_all(text: str, before: Users | None = None) -> Users:
    steps = read_users(text, before or Users())
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Users = stop.value
            return found


def read(text: str) -> dict[str, User]:
    return read_all(text).by_id


def answer(*users: Any) -> str:
    return json.dumps({"users": users})


def test_a_user_is_a_service_with_its_limits_and_the_hash_of_its_uuid() -> None:
    (alice,) = read(answer(user(7, ALICE, 8, 2))).values()
    assert alice.settings == te.Settings(
        te.Policy(down_rate=1_000_000, up_rate=1_000_000, device_limit=2),
        te.Credentials(te.hash_password(ALICE, kind="sha256")),
    )
    assert ALICE not in repr(alice)


def test_no_limit_is_null_or_0_or_missing_or_empty() -> None:
    users = [user(1, ALICE, None, None), user(2, ALICE[::-1], 0, 0), {"id": 3, "uuid": BOB}, user(4, BOB[::-1], "", "")]
    assert {each.settings.policy for each in read(answer(*users)).values()} == {te.Policy()}


def test_a_rate_that_is_next_to_nothing_is_a_byte_a_second() -> None:
    assert read(answer(user(7, ALICE, 1e-9)))["7"].settings.policy.down_rate == 1


def test_a_user_that_has_not_changed_keeps_its_settings() -> None:
    before = read_all(answer(user(7, ALICE, 8), user(8, BOB)))
    after = read_all(answer(user(7, ALICE, 9), user(8, BOB)), before)
    assert after.by_id["8"] is before.by_id["8"]
    assert after.services["7"].policy.down_rate == 1_125_000


def test_users_are_found_by_id_and_by_uuid_and_those_that_are_gone_are_named() -> None:
    before = read_all(answer(user(7, ALICE), user(8, BOB)))
    after = read_all(answer(user(8, ALICE)), before)
    assert (before.ids, before.removed) == ({ALICE: "7", BOB: "8"}, [])
    assert (after.ids, after.removed, set(after.services)) == ({ALICE: "8"}, ["7"], {"8"})


@pytest.mark.parametrize(
    "text",
    [
        '{"users": []}',
        '{ "users" : [ ] , "more" : {"users": [1]} }',
        f'\n{{"a": "]}}", "users":[\n{{"id":7,"uuid":"{ALICE}"}} ,{{"id":8,"uuid":"{BOB}"}}\t] }}\r\n',
    ],
)
def test_blanks_and_other_keys_are_no_matter(text: str) -> None:
    assert set(read(text)) == {str(each["id"]) for each in json.loads(text)["users"]}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"users": 5}', '{"users": {}}', '{"users": [', '{"users": []', "{,}",
     '{"users": []} x', '{"users": [],}', '{"users": [,]}', '{"users" []}', '{"a": 1}', "[" * 100_000,
     '{"a": ' + "[" * 100_000, '{"users": [' + "[" * 100_000, "<html>502 Bad Gateway</html>"],
)  # fmt: skip
def test_an_answer_that_is_no_list_of_users_is_refused(text: str) -> None:
    with pytest.raises(PanelError, match=r"^no JSON with a list of users$"):
        read(text)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (5, r"users\[1\] is no object"),
        (user(None, BOB), r"users\[1\]\.id = None is no number of a user"),  # type: ignore[arg-type]
        (user(True, BOB), r"users\[1\]\.id = True is no"),
        (user("a b", BOB), r"users\[1\]\.id = 'a b' is no"),  # type: ignore[arg-type]
        (user(10**70, BOB), r"users\[1\]\.id = 10+\.\.\. is no|users\[1\]\.id = 10+ is no"),
        (user(8, ""), r"users\[1\]\.uuid is no text"),
        (user(8, 5), r"users\[1\]\.uuid is no text"),  # type: ignore[arg-type]
        (user(8, "hunter2"), r"users\[1\]\.uuid is no random secret of 22 to 1,024 letters"),
        (user(8, "x" * 2000), r"users\[1\]\.uuid is no random secret"),
        (user(8, BOB, "fast"), r"users\[1\]\.speed_limit = 'fast' is no number of at least 0"),
        (user(8, BOB, None, -1), r"users\[1\]\.device_limit = -1 is no number"),
        (user(8, BOB, True), r"users\[1\]\.speed_limit = True is no number"),
        (user(8, BOB, [1]), r"users\[1\]\.speed_limit = \[1\] is no number"),
        (user(8, BOB, "nan"), r"users\[1\]\.speed_limit = 'nan' is no number"),
        (user(8, BOB, 1e9), r"users\[1\]\.speed_limit = 1000000000\.0 is no number"),
        (user(7, BOB), r"users\[1\] has the id or the uuid of an earlier one"),
        (user(8, ALICE), r"users\[1\] has the id or the uuid of an earlier one"),
    ],
)
def test_a_faulty_user_is_named_by_its_place(entry: Any, fault: str) -> None:
    with pytest.raises(PanelError, match=f"^({fault})") as caught:
        read(answer(user(7, ALICE), entry))
    for secret in (ALICE, BOB, "hunter2"):
        assert secret not in str(caught.value)


def test_there_is_a_bound_on_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_USERS", 3)
    users = [user(number, f"{number:0>32}") for number in range(4)]
    assert len(read(answer(*users[:3]))) == 3
    with pytest.raises(PanelError, match=r"^more than 3 users$"):
        read(answer(*users))


def test_a_large_answer_is_read_in_short_steps() -> None:
    users = [user(number, f"{number:0>32}") for number in range(10 * USERS_PER_STEP)]
    assert sum(1 for _ in read_users(answer(*users), Users())) == 10


keys = st.sampled_from(["users", "id", "uuid", "speed_limit"])
leaves = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner)))
def test_whatever_a_panel_answers_it_is_users_or_one_error(value: Any) -> None:
    try:
        found = read(json.dumps(value))
    except PanelError:
        return
    assert all(each.settings.credentials.password_hash for each in found.values())


@given(st.text())
def test_whatever_bytes_a_panel_answers_it_is_users_or_one_error(text: str) -> None:
    with pytest.raises(PanelError):
        read(text)


def test_a_number_may_be_text() -> None:
    assert (number_of("a", "8"), number_of("a", "0.5"), number_of("a", 3)) == (8, 0.5, 3)
