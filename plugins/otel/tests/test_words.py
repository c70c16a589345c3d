"""What an exporter logs is kept back in the thread that exports, and in no other."""

import logging
import threading

import pytest

from trioedge_otel.words import Words

LOGGER = logging.getLogger("test_words")


def test_lines_are_kept_back_in_the_block_and_pass_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    words = Words(LOGGER)
    LOGGER.warning("before")
    with words:
        LOGGER.warning("first %s", "x")
        LOGGER.warning("last %s", "y")
    LOGGER.warning("behind")
    assert (words.said, caplog.messages) == ("first x", ["before", "behind"])
    with words:
        assert words.said == ""
    words.close()
    assert LOGGER.filters == []


def test_another_thread_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    words = Words(LOGGER)
    with words:
        thread = threading.Thread(target=LOGGER.warning, args=["another"])
        thread.start()
        thread.join()
    assert (words.said, caplog.messages) == ("", ["another"])
    words.close()


def test_a_thread_that_is_still_in_its_block_is_kept_back_also_after_the_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = Words(LOGGER)
    with words:
        words.close()
        LOGGER.warning("late")
    assert (words.said, caplog.messages, LOGGER.filters) == ("late", [], [])
