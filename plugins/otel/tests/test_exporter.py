"""The exporter that arguments and the environment ask for."""

from pathlib import Path
from typing import Any

import pytest
import trioedge as te
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from trioedge.testing import make_context

from trioedge_otel import Otel
from trioedge_otel.exporter import is_off, make_exporter, wanted
from trioedge_otel.outline import Outline
from trioedge_otel.sink import ExporterSink

GENERAL = "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "otlp_proto_http"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp_proto_http"),
        ({GENERAL: "http/protobuf"}, "otlp_proto_http"),
        ({GENERAL: "grpc"}, "otlp_proto_grpc"),
        ({GENERAL: "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "otlp_proto_http"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
    ],
)  # fmt: skip
def test_the_environment_names_the_exporter(environment: dict[str, str], name: str) -> None:
    assert wanted(environment) == name


@pytest.mark.parametrize(
    ("environment", "off"),
    [
        ({}, False),
        ({"OTEL_SDK_DISABLED": "TRUE"}, True),
        ({"OTEL_SDK_DISABLED": "false"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, True),
    ],
)
def test_the_environment_may_switch_it_off(
    environment: dict[str, str], off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_off(environment) is off
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    live = Otel().open(make_context())
    assert (live is None) is off
    if live is not None:
        live.close()


def test_a_sample_of_zero_is_off_and_asks_for_no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "missing")
    assert Otel(sample=0).open(make_context()) is None


def test_arguments_ask_for_http_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    exporter = make_exporter("http://127.0.0.1:1/v1/traces", {}, None)
    assert isinstance(exporter, OTLPSpanExporter)
    exporter.shutdown()  # type: ignore[no-untyped-call]  # the package has no annotation there
    console = make_exporter("", {}, None)
    assert isinstance(console, ConsoleSpanExporter)


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        ({GENERAL: "grpc"}, "pip install opentelemetry-exporter-otlp-proto-grpc"),
        ({"OTEL_TRACES_EXPORTER": "zebra"}, "OTEL_TRACES_EXPORTER names no exporter, or give Otel(exporter=…)"),
    ],
)
def test_an_exporter_that_is_not_installed_is_named_with_its_package(
    environment: dict[str, str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(te.ConfigurationError, match="Otel has no exporter") as raised:
        Otel().open(make_context())
    assert fault in str(raised.value)


def test_without_the_exporter_of_otlp_the_edge_does_not_start_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trioedge_otel.exporter.entry_points", lambda **_: [])
    with pytest.raises(te.ConfigurationError, match="pip install opentelemetry-exporter-otlp-proto-http, or give"):
        Otel(endpoint="http://127.0.0.1:1").open(make_context())


class Picky:
    """An entry point whose exporter refuses to be made."""

    @staticmethod
    def load() -> Any:
        def make(**_: object) -> None:
            raise ValueError("no such compression")

        return make


def test_settings_that_the_exporter_refuses_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge_otel.exporter.entry_points", lambda **_: [Picky])
    with pytest.raises(te.ConfigurationError, match="refuses its settings: no such compression"):
        Otel().open(make_context())


def test_a_token_that_cannot_be_read_keeps_the_edge_from_starting() -> None:
    with pytest.raises(te.ConfigurationError, match="NO_SUCH_TOKEN"):
        Otel(token=te.Secret(env="NO_SUCH_TOKEN")).open(make_context())


@pytest.mark.parametrize("text", ["s3cr3t\ns3cr3t", "s3cr3t s3cr3t", "s3cr3t\u20ac", "s3cr3t\0", " "])
def test_a_token_that_no_header_can_have_is_refused_and_not_shown(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text("good\n\n")
    exporter = make_exporter("http://127.0.0.1:1/v1/traces", {}, te.Secret(file=file))
    file.write_text(text)
    with pytest.raises(te.ConfigurationError, match="must be printable ASCII without blanks") as raised:
        make_exporter("http://127.0.0.1:1/v1/traces", {}, te.Secret(file=file))
    sink = ExporterSink(exporter, "edge", ours=True)
    said = sink.send([Outline(1, 2, {}, (), None)])
    sink.close()
    assert "must be printable ASCII without blanks" in said
    assert not any("s3cr3t" in each for each in (str(raised.value), said, caplog.text))
