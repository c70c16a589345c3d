import pytest

from trioedge.services.device_rules import DeviceRules, Handover, Unchecked


def test_without_a_word_any_number_of_devices_may_come_and_stale_verdicts_hold_for_a_while() -> None:
    assert DeviceRules() == DeviceRules(None, Handover.REJECT_NEW, 30.0, Unchecked.STALE_FOR, 300.0)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (Handover, ["reject_new", "evict_oldest", "hold"]),
        (Unchecked, ["fail_open", "fail_closed", "stale_for"]),
    ],
)
def test_choices_are_written_as_files_have_them(choices: type[Handover] | type[Unchecked], words: list[str]) -> None:
    assert [str(each) for each in choices] == words
    assert [choices(word) for word in words] == list(choices)
