"""Arguments that are wrong: each is one line that names it and its mend."""

from math import inf, nan
from typing import Any

import pytest
import trioedge as te
from exporters import Fails
from opentelemetry.sdk.trace import TracerProvider

from trioedge_otel import Otel
from trioedge_otel.arguments import check_endpoint

PROVIDER = TracerProvider(shutdown_on_exit=False)


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("", ""),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otlp.example/otlp/v1/traces", "https://otlp.example/otlp/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_that_of_otlp(given: str, endpoint: str) -> None:
    assert check_endpoint(given) == endpoint


NUMBER = "must be a number"
URL = "must be a URL as in 'http://127.0.0.1:4318/v1/traces'"
OF_VALUES: list[tuple[str, str, tuple[Any, ...]]] = [
    ("sample", f"{NUMBER} of at least 0 and at most 1", (-0.1, 1.1, nan, inf, True, "0.1", None, [])),
    ("seconds", f"{NUMBER} of at least 0.1 and at most 86400", (0, 0.05, 86_401, nan, False, "5", None)),
    ("endpoint", URL, ("collector", "127.0.0.1:4318", "ftp://a", "http://", "http://a:b", "http://[::1", None, 5)),
    ("endpoint", URL, ("http://ä.example", "http://a\n.example")),
    ("name", "must be printable text, as in 'edge'", ("", "a\n", None, 5)),
]
HEADERS: list[Any] = [{"a": 5}, {5: "a"}, {"": "a"}, {"a": "b\r\nc"}, "a=b", ["a"], 5]
TOKEN = te.Secret(env="T")
ONE = "give one of the two"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        *[({name: value}, f"Otel({name}={value!r}) {mend}") for name, mend, values in OF_VALUES for value in values],
        *[({"headers": value}, "Otel(headers=…) must be texts by name, as in {'x-tenant'") for value in HEADERS],
        ({"endpoint": "http://ann:secret@a.example"}, "Otel(endpoint=…) has a user or a password: give the secret as"),
        ({"token": "secret"}, "Otel(token=…) must be a te.Secret, as in te.Secret(env='OTLP_TOKEN')"),
        ({"token": TOKEN, "endpoint": "http://a.example"}, "Otel(token=…) would be sent in clear text"),
        ({"exporter": Fails}, "Otel(exporter=<class 'exporters.Fails'>) must be a SpanExporter"),
        ({"exporter": "otlp"}, "Otel(exporter='otlp') must be a SpanExporter of opentelemetry.sdk.trace.export"),
        ({"provider": Fails()}, "Otel(provider=<exporters.Fails object"),
        ({"provider": PROVIDER, "exporter": Fails()}, f"Otel(exporter=…, provider=…): {ONE}"),
        ({"provider": PROVIDER, "endpoint": "http://[::1]"}, f"Otel(endpoint=…, provider=…): {ONE}"),
        ({"exporter": Fails(), "headers": {"a": "b"}}, f"Otel(headers=…, exporter=…): {ONE}"),
        ({"exporter": Fails(), "token": TOKEN}, f"Otel(token=…, exporter=…): {ONE}"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as raised:
        Otel(**arguments)
    assert str(raised.value).startswith(fault)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value).replace("the secret as token", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9"])
def test_a_token_may_go_to_this_machine_in_clear_text(host: str) -> None:
    assert Otel(endpoint=f"http://{host}:4318", token=TOKEN).token is not None


def test_its_repr_has_its_name_and_no_secret() -> None:
    shown = repr(Otel(0.5, "https://a.example", {"x-key": "hidden"}, TOKEN))
    assert shown == (
        "Otel(sample=0.5, endpoint='https://a.example/v1/traces', headers=['x-key'], token=Secret(env='T'))"
    )
    assert repr(Otel(exporter=Fails())) == "Otel(sample=0.01, exporter=Fails)"
    assert repr(Otel(provider=PROVIDER)) == "Otel(sample=0.01, provider=TracerProvider)"
