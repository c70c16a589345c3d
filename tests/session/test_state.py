from typing import Any

import attrs
import pytest

from trioedge.errors import quote
from trioedge.session.state import State
from trioedge.testing import make_session


@attrs.frozen
class Login:
    name: str


@attrs.frozen
class Admin(Login):
    pass


def test_a_value_is_found_by_its_type() -> None:
    state = State()
    state[Login] = Login("ann")
    assert state[Login] == Login("ann")
    assert state.get(Login) == Login("ann")
    assert Login in state
    assert len(state) == 1


def test_of_one_type_there_is_one_value_the_latest() -> None:
    state = State()
    state[Login] = Login("ann")
    state[Login] = Login("bob")
    assert state[Login] == Login("bob")
    assert len(state) == 1


def test_types_do_not_meet_even_if_one_derives_from_the_other() -> None:
    state = State()
    state[Login] = Admin("root")
    assert state.get(Admin) is None
    state[Admin] = Admin("ann")
    assert (state[Login].name, state[Admin].name) == ("root", "ann")


def test_a_type_without_a_value_is_a_key_error_or_none() -> None:
    state = State()
    with pytest.raises(KeyError, match=r"no stage before has stored a Login: add one that does, or write state"):
        state[Login]
    assert state.get(Login) is None
    assert Login not in state
    assert len(state) == 0


def test_a_value_may_be_taken_out() -> None:
    state = State()
    state[Login] = Login("ann")
    del state[Login]
    assert state.get(Login) is None
    with pytest.raises(KeyError):
        del state[Login]


@pytest.mark.parametrize("value", ["ann", None, Login, 5])
def test_a_value_of_another_type_is_refused_and_the_one_before_stays(value: Any) -> None:
    state = State()
    state[Login] = Login("ann")
    with pytest.raises(TypeError) as refusal:
        state[Login] = value
    assert str(refusal.value) == f"state[Login] = {value!r}: the value must be a Login"
    assert state[Login] == Login("ann")


@pytest.mark.parametrize("key", ["login", 5, None, Login("ann"), (Login, Admin), [Login], Login | None, list[int]])
def test_a_key_that_is_no_class_is_refused(key: Any) -> None:
    state = State()
    with pytest.raises(TypeError) as refusal:
        state[key] = Login("ann")
    assert str(refusal.value) == f"state[{quote(key)}] must be keyed by a class, as in state[Login] = Login()"
    assert len(state) == 0


def test_two_sessions_and_their_services_have_states_of_their_own() -> None:
    one, other = make_session(), make_session()
    one.state[Login] = Login("ann")
    one.service.state[Login] = Login("tenant")
    assert one.state[Login] == Login("ann")
    assert other.state.get(Login) is None
    assert other.service.state.get(Login) is None


def test_the_values_are_given_with_their_types() -> None:
    session = make_session()
    assert [*session.state.items()] == []
    session.state[int], session.state[str] = 5, "x"
    assert [*session.state.items()] == [(int, 5), (str, "x")]
