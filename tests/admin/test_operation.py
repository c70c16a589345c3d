"""What follows from the description of an operation."""

from trioedge.admin.operation import Operation
from trioedge.admin.parameters import Parameter, text

NAME = Parameter(name="name", says="a name", schema=text(), place="path")
BODY = Parameter(name="level", says="a level", schema=text(), place="body")


def operation(**changes: object) -> Operation:
    return Operation(**({"name": "x", "method": "GET", "path": "/x", "says": "", "answer": {}} | changes))  # type: ignore[arg-type]


def test_a_parameter_of_a_path_is_required_and_others_are_not() -> None:
    assert (NAME.required, BODY.required) == (True, False)


def test_the_statuses_of_errors_follow_from_what_it_reads() -> None:
    assert operation().statuses == [401, 403, 405, 422, 500]
    assert operation(open=True, refused=(503,)).statuses == [405, 422, 500, 503]
    assert operation(parameters=(NAME,), not_found=True).statuses == [401, 403, 404, 405, 422, 500, 503]
    assert operation(parameters=(BODY,)).statuses == [401, 403, 405, 408, 413, 415, 422, 500]
    assert operation(lines=True).statuses == [401, 403, 405, 408, 413, 422, 500]
    assert operation(kind="text").statuses == [401, 403, 405, 422, 500]
