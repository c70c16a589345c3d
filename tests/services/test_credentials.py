import pytest

from trioedge.services.credentials import MAX_COST_LOG2, Credentials, check_hash

SALT, KEY = "A" * 22 + "==", "A" * 43 + "="


@pytest.mark.parametrize(
    "text",
    [
        None, 3, b"scrypt", "", "secret", "scrypt", "scrypt:1:x", f"scrypt:1:{SALT}:{KEY}:", f"bcrypt:1:{SALT}:{KEY}",
        f"scrypt:0:{SALT}:{KEY}", f"scrypt:{MAX_COST_LOG2 + 1}:{SALT}:{KEY}", f"scrypt:x:{SALT}:{KEY}",
        f"scrypt:-1:{SALT}:{KEY}", f"scrypt:{'9' * 5000}:{SALT}:{KEY}", f"scrypt:1:AAAA:{KEY}", f"scrypt:1:{SALT}:AAAA",
        f"scrypt:1:{SALT}:{KEY[:-1]}", f"scrypt:1:{SALT}:{KEY[1:]}ü",
    ],
)  # fmt: skip
def test_a_wrong_hash_is_refused_and_not_quoted(text: object) -> None:
    assert check_hash(text) == "is not what `trioedge.hash_password` gives"


def test_a_hash_of_the_largest_cost_is_accepted() -> None:
    assert check_hash(f"scrypt:{MAX_COST_LOG2}:{SALT}:{KEY}") == ""


def test_a_hash_is_left_out_of_repr() -> None:
    assert "scrypt" not in repr(Credentials(f"scrypt:1:{SALT}:{KEY}"))
