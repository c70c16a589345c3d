"""Refused requests."""

from trioedge.admin.refusals import FaultyError, RefusedError, not_found


def test_an_error_has_one_line_and_faults_are_a_list() -> None:
    assert (not_found("no x").status, not_found("no x").answer) == (404, {"error": "no x"})
    faulty = FaultyError(["a: wrong", "b: wrong"])
    assert (faulty.status, faulty.answer) == (422, {"faults": ["a: wrong", "b: wrong"]})
    assert str(faulty) == "a: wrong; b: wrong"
    assert RefusedError(401, "x", headers=[(b"a", b"b")]).headers == ((b"a", b"b"),)
