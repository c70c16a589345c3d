"""From a method and a path to an operation."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.admin.http.routing import Routes
from trioedge.admin.operations import OPERATIONS
from trioedge.admin.refusals import RefusedError

ROUTES = Routes()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_each_operation_is_found(operation: object) -> None:
    path = operation.path.replace("{id}", "7").replace("{name}", "a%2Fb").replace("{file}", "page.js")  # type: ignore[attr-defined]
    found, given = ROUTES.find(operation.method, path.encode())  # type: ignore[attr-defined]
    assert found is operation
    assert given in ({}, {"id": "7"}, {"name": "a/b"}, {"file": "page.js"})


@pytest.mark.parametrize("path", [b"", b"/v1/", b"/v1/sessions/", b"/V1/state", b"*", b"/v1/%73tate/x", b"/v1//state"])
def test_another_path_is_404(path: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        ROUTES.find("GET", path)
    assert refused.value.status == 404


@given(st.text(max_size=10), st.binary(max_size=40))
def test_no_path_and_no_method_fails_otherwise(method: str, path: bytes) -> None:
    with suppress(RefusedError):
        ROUTES.find(method, path)
