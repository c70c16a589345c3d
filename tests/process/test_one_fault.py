import sys

import pytest

import trioedge as te
from trioedge.process.exit_code import ExitCode
from trioedge.process.one_fault import one_fault


@pytest.fixture
def _hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)


def raising(fault: BaseException) -> ExitCode:
    raise fault


def test_a_good_end_is_its_exit_code() -> None:
    assert one_fault(lambda: ExitCode.CUT) is ExitCode.CUT


@pytest.mark.usefixtures("_hook")
@pytest.mark.parametrize(
    ("error", "code"), [(te.ConfigurationError("a\nfault"), 2), (te.ListenError("a\nfault"), 3)], ids=["file", "port"]
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_fault_of_configuration_in_groups_is_one_exception_and_one_line(
    error: te.ConfigurationError, code: int, depth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped: BaseException = error
    for _ in range(depth):
        wrapped = BaseExceptionGroup("tasks", [wrapped])
    with pytest.raises(te.ConfigurationError) as caught:
        one_fault(lambda: raising(wrapped))
    assert caught.value is error
    with pytest.raises(SystemExit) as ended:
        sys.excepthook(type(error), error, None)
    assert ended.value.code == code
    assert capsys.readouterr().err == "trioedge: a fault\n"


@pytest.mark.usefixtures("_hook")
def test_of_several_faults_of_configuration_the_first_is_told() -> None:
    first, second = te.ConfigurationError("first"), te.ConfigurationError("second")
    with pytest.raises(te.ConfigurationError, match="first"):
        one_fault(lambda: raising(BaseExceptionGroup("tasks", [first, second])))


def test_another_exception_beside_one_of_configuration_stays_in_its_group() -> None:
    group = ExceptionGroup("tasks", [te.ConfigurationError("a fault"), ValueError("a bug")])
    with pytest.raises(ExceptionGroup) as caught:
        one_fault(lambda: raising(group))
    assert caught.value is group


@pytest.mark.usefixtures("_hook")
def test_other_exceptions_of_the_program_are_printed_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    error = te.ConfigurationError("a fault")
    with pytest.raises(te.ConfigurationError):
        one_fault(lambda: raising(error))
    other = ValueError("a bug")
    sys.excepthook(ValueError, other, None)
    assert "ValueError: a bug" in capsys.readouterr().err


def test_a_hook_of_the_program_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def hook(*_: object) -> None:
        return

    monkeypatch.setattr(sys, "excepthook", hook)
    with pytest.raises(te.ConfigurationError):
        one_fault(lambda: raising(te.ConfigurationError("a fault")))
    assert sys.excepthook is hook
