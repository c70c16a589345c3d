"""The text of a password hash: the PHC string format, and the former form."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.services.credentials import (
    MAX_COST_LOG2,
    Credentials,
    check_hash,
    read_digest,
    read_hash,
    write_digest,
    write_hash,
)

SALT, KEY = "A" * 22, "A" * 43
"""Base64 without padding, of 16 and 32 bytes."""


@pytest.mark.parametrize(
    "text",
    [
        None, 3, b"scrypt", "", "secret", "scrypt", "$scrypt$",
        f"$scrypt$ln=14,r=8,p=1${SALT}${KEY}$", f"$scrypt$ln=14,r=8,p=1${SALT}${KEY}\n",
        f" $scrypt$ln=14,r=8,p=1${SALT}${KEY}", f"$scrypt$ln=14,r=8,p=1$${KEY}", f"$scrypt$ln=14,r=8,p=1${SALT}$",
        f"$argon2id$v=19$m=65536,t=3,p=4${SALT}${KEY}", f"$bcrypt$ln=14,r=8,p=1${SALT}${KEY}",
        f"$scrypt$ln=14,r=16,p=1${SALT}${KEY}", f"$scrypt$ln=14,r=8,p=2${SALT}${KEY}", f"$scrypt$ln=14${SALT}${KEY}",
        f"$scrypt$r=8,p=1,ln=14${SALT}${KEY}", f"$scrypt$ln=0,r=8,p=1${SALT}${KEY}",
        f"$scrypt$ln={MAX_COST_LOG2 + 1},r=8,p=1${SALT}${KEY}", f"$scrypt$ln=-1,r=8,p=1${SALT}${KEY}",
        f"$scrypt$ln={'9' * 5000},r=8,p=1${SALT}${KEY}", f"$scrypt$ln=x,r=8,p=1${SALT}${KEY}",
        f"$scrypt$ln=\u0661,r=8,p=1${SALT}${KEY}", f"$scrypt$ln=14,r=8,p=1${SALT}==${KEY}=",
        f"$scrypt$ln=14,r=8,p=1$AAAA${KEY}", f"$scrypt$ln=14,r=8,p=1${SALT}$AAAA",
        f"$scrypt$ln=14,r=8,p=1${SALT}AAA${KEY}", f"$scrypt$ln=14,r=8,p=1${SALT}${KEY}AA",
        f"$scrypt$ln=14,r=8,p=1${SALT}${KEY[1:]}ü", f"$scrypt$ln=14,r=8,p=1${SALT}${KEY[1:]}-",
    ],
)  # fmt: skip
def test_a_wrong_hash_is_refused_and_not_quoted(text: object) -> None:
    assert check_hash(text) == "is not what `trioedge.hash_password` gives"


@pytest.mark.parametrize(
    "text",
    [
        "scrypt:1:x", f"scrypt:1:{SALT}==:{KEY}=:", f"bcrypt:1:{SALT}==:{KEY}=", f"scrypt:0:{SALT}==:{KEY}=",
        f"scrypt:{MAX_COST_LOG2 + 1}:{SALT}==:{KEY}=", f"scrypt:x:{SALT}==:{KEY}=", f"scrypt:-1:{SALT}==:{KEY}=",
        f"scrypt:{'9' * 5000}:{SALT}==:{KEY}=", f"scrypt:1:AAAA:{KEY}=", f"scrypt:1:{SALT}==:AAAA",
        f"scrypt:1:{SALT}==:{KEY}", f"scrypt:1:{SALT}:{KEY}=", f"scrypt:1:{SALT}==:{KEY[1:]}ü=",
        f"scrypt:\u0661:{SALT}==:{KEY}=",
    ],
)  # fmt: skip
def test_a_wrong_hash_of_the_former_form_is_refused_and_not_quoted(text: str) -> None:
    assert check_hash(text) == "is not what `trioedge.hash_password` gives"


@pytest.mark.parametrize(
    "text", [f"$scrypt$ln={MAX_COST_LOG2},r=8,p=1${SALT}${KEY}", f"scrypt:{MAX_COST_LOG2}:{SALT}==:{KEY}="]
)
def test_a_hash_of_the_largest_cost_is_accepted_in_both_forms(text: str) -> None:
    assert check_hash(text) == ""
    assert read_hash(text) == (MAX_COST_LOG2, bytes(16), bytes(32))


@examples(50)
@given(st.integers(1, MAX_COST_LOG2), st.binary(min_size=16, max_size=40), st.binary(min_size=32, max_size=32))
def test_a_hash_that_is_written_is_read_as_it_was(cost: int, salt: bytes, key: bytes) -> None:
    text = write_hash(cost, salt, key)
    assert text.startswith(f"$scrypt$ln={cost},r=8,p=1$")
    assert "=" not in text.rpartition("p=1")[2]
    assert read_hash(text) == (cost, salt, key)
    former = f"scrypt:{cost}:{base64.b64encode(salt).decode()}:{base64.b64encode(key).decode()}"
    assert read_hash(former) == (cost, salt, key)


@examples(50)
@given(st.binary(min_size=32, max_size=32))
def test_a_digest_that_is_written_is_read_as_it_was(digest: bytes) -> None:
    text = write_digest(digest)
    assert text.startswith("sha256:")
    assert read_digest(text) == digest
    assert check_hash(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "sha256:", "sha256:00", f"sha256:{'0' * 63}", f"sha256:{'0' * 65}", f"sha256:{'0' * 64}\n",
        f" sha256:{'0' * 64}", f"sha256:{'A' * 64}", f"sha256:{'g' * 64}", f"sha512:{'0' * 64}",
        f"$sha256${'0' * 64}", "0" * 64, f"sha256:{chr(0x661) * 64}",
    ],
)  # fmt: skip
def test_a_wrong_digest_is_refused_and_not_quoted(text: str) -> None:
    assert read_digest(text) is None
    assert check_hash(text) == "is not what `trioedge.hash_password` gives"


def test_a_hash_is_left_out_of_repr() -> None:
    assert "scrypt" not in repr(Credentials(write_hash(1, bytes(16), bytes(32))))
