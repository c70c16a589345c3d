"""The credentials of a service, and the text of a password hash.

| kind | text | for |
| --- | --- | --- |
| scrypt | ``$scrypt$ln=14,r=8,p=1$SALT$KEY`` (the PHC string format), base64 without padding | passwords of people |
| the same | ``scrypt:14:SALT:KEY``, with padding, as it was written formerly | |
| sha256 | ``sha256:`` and 64 hexadecimal digits, in lower case | random secrets of machines |

A password that people choose must cost a guess some time, or a stolen hash gives it away. A random secret of 128 bits
cannot be guessed, however fast the hash is (NIST SP 800-63B section 5.1.2.2 asks neither a salt nor a slow hash of
secrets with 112 bits).
"""

import base64
import re
from typing import Final

import attrs

MAX_COST_LOG2: Final = 17
"""The largest cost of a hash that is accepted: 128 MiB and about half a second."""

BLOCK, LANES = 8, 1
"""The parameters r and p of scrypt; a hash with others is refused."""

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16

_PHC: Final = re.compile(rf"\$scrypt\$ln=([0-9]{{1,2}}),r={BLOCK},p={LANES}\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_FORMER: Final = re.compile(r"scrypt:([0-9]{1,2}):([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


@attrs.frozen(slots=True)
class Credentials:
    """Proofs that a client belongs to a service.

    Attributes:
        password_hash: as `trioedge.hash_password` returns it; None if no password is right.
    """

    password_hash: str | None = attrs.field(default=None, repr=False)


def check_hash(text: object) -> str:
    """Return the fault of a `password_hash`, or "" for a good one. The hash itself is never quoted."""
    if isinstance(text, str):
        try:
            if read_digest(text) is None:
                read_hash(text)
        except ValueError:
            pass
        else:
            return ""
    return "is not what `trioedge.hash_password` gives"


def write_hash(cost: int, salt: bytes, key: bytes) -> str:
    """Write a hash as text; the arguments are as :func:`read_hash` returns them."""
    return f"$scrypt$ln={cost},r={BLOCK},p={LANES}${_encode(salt)}${_encode(key)}"


def write_digest(digest: bytes) -> str:
    """Write the SHA-256 of a secret as text."""
    return f"sha256:{digest.hex()}"


def read_digest(text: str) -> bytes | None:
    """Read the SHA-256 of a secret; None if the text is another kind of hash, or none."""
    match = _DIGEST.fullmatch(text)
    return None if match is None else bytes.fromhex(match[1])


def read_hash(text: str) -> tuple[int, bytes, bytes]:
    """Read a hash of scrypt in either form.

    Returns:
        The cost (the logarithm to base 2 of scrypt's N), the salt and the key.

    Raises:
        ValueError: the text is no hash, or the hash is of a larger cost or of other parameters.
    """
    if match := _PHC.fullmatch(text):
        parts = [part + "=" * (-len(part) % 4) for part in (match[2], match[3])]
    elif match := _FORMER.fullmatch(text):
        parts = [match[2], match[3]]
    else:
        raise ValueError
    cost = int(match[1])
    salt, key = (base64.b64decode(part, validate=True) for part in parts)
    if not 1 <= cost <= MAX_COST_LOG2 or len(salt) < SALT_BYTES or len(key) != KEY_BYTES:
        raise ValueError
    return cost, salt, key


def _encode(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()
