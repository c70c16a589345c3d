import trioedge as te
from trioedge.cli.client.errors import UNREACHABLE, AdminError, UnreachableError


def test_an_error_of_a_client_is_no_fault_of_configuration_and_has_a_code_of_its_own() -> None:
    for error in (UnreachableError("it is not there"), AdminError("no such session", 404)):
        assert isinstance(error, te.EdgeError)
        assert not isinstance(error, te.ConfigurationError)
    assert UNREACHABLE not in (te.ExitCode.FAULT, te.ExitCode.CONFIGURATION, te.ExitCode.DRAINED)


def test_the_answer_of_an_edge_keeps_its_status_and_faults() -> None:
    error = AdminError("a; b", 422, ("a", "b"))
    assert (str(error), error.status, error.faults) == ("a; b", 422, ("a", "b"))
