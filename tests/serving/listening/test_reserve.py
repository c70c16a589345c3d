"""The file descriptor in reserve: it is there, is lent, and comes back if there is one."""

import errno
import os

import pytest

from tests.support.open_files import open_files
from trioedge.errors import ListenError
from trioedge.serving.listening.reserve import Reserve


def test_a_reserve_is_one_descriptor_which_is_free_while_it_is_lent() -> None:
    files = open_files()
    reserve = Reserve()
    assert open_files() == files + 1
    with reserve.lent():
        assert open_files() == files
    assert open_files() == files + 1
    with pytest.raises(KeyError), reserve.lent():
        raise KeyError
    assert open_files() == files + 1
    reserve.close()
    reserve.close()
    assert open_files() == files


def test_a_reserve_whose_descriptor_another_file_has_taken_closes_no_other_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    reserve = Reserve()
    with monkeypatch.context() as patch, reserve.lent():
        other = os.open(os.devnull, os.O_RDONLY)
        patch.setattr(os, "open", fails)
        with reserve.lent():
            pass
        patch.undo()
        reserve.close()
        os.fstat(other)
    os.close(other)
    reserve.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fails)
        with pytest.raises(ListenError, match="cannot listen: Too many open files; raise the limit with ulimit -n"):
            Reserve()
