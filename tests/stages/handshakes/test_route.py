import pytest

from trioedge.addresses.address import Address
from trioedge.errors import ConfigurationError
from trioedge.stages.handshakes.route import provided_by, read_route
from trioedge.testing import make_session


def test_a_text_with_a_scheme_is_a_destination_and_another_one_a_service() -> None:
    destination, service = read_route("tcp://Host.test:1", "x"), read_route("shop", "x")
    assert destination.to == Address("tcp", "host.test", 1)
    assert (str(destination), str(service)) == ("tcp://host.test:1", "shop")
    session = make_session()
    for route in (destination, service):
        route.take(session)
    assert (session.destination, session.service.name) == ("tcp://host.test:1", "shop")
    assert provided_by([destination]) == ("destination",)
    assert provided_by([service, destination, service]) == ("destination", "service")


@pytest.mark.parametrize("text", ["", "x" * 256, 5, None])
def test_anything_else_is_refused_with_its_place(text: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^x = .* must be a destination, as in"):
        read_route(text, "x")


@pytest.mark.parametrize("text", ["10.0.0.1:443", "localhost:443", "shop.example:443", "[2001:db8::1]:443"])
def test_a_host_and_a_port_without_a_scheme_is_refused_with_the_scheme(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_route(text, "x")
    assert str(caught.value) == f"x: address '{text}' must begin with tcp:// or unix://: write 'tcp://{text}'"


@pytest.mark.parametrize("text", ["shop.example", "tenant:42", "shop.example:staging", "2001:db8::1", ":443"])
def test_the_name_of_a_service_may_have_dots_and_colons(text: str) -> None:
    assert read_route(text, "x").to == text
