import pytest

from trioedge.services.device_rules import DeviceRules, Handover, Unchecked


def test_by_default_there_is_no_device_limit_and_expired_verdicts_are_used_for_300_seconds() -> None:
    assert DeviceRules() == DeviceRules(None, Handover.REJECT_NEW, 30.0, Unchecked.STALE_FOR, 300.0)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (Handover, ["reject_new", "evict_oldest", "hold"]),
        (Unchecked, ["fail_open", "fail_closed", "stale_for"]),
    ],
)
def test_choices_have_the_texts_of_a_services_file(choices: type[Handover] | type[Unchecked], words: list[str]) -> None:
    assert [str(each) for each in choices] == words
    assert [choices(word) for word in words] == list(choices)
