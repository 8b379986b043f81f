"""Ids and chances that follow from the seed of a run, so that a run can be repeated."""

from hashlib import blake2b

_BITS = 64
# 36 characters for 256 values: a few come up an eighth more often than others, which nobody will notice
_ID_CHARACTERS = bytes(b"0123456789abcdefghijklmnopqrstuvwxyz"[value % 36] for value in range(256))
ACCOUNT_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def number(seed: int, account: str, creation: int, purpose: str) -> int:
    """64 bits that depend on exactly these four: the same run draws the same, two accounts share nothing."""
    text = f"{seed}/{account}/{creation}/{purpose}".encode()
    return int.from_bytes(blake2b(text, digest_size=_BITS // 8).digest())


def task_suffix(seed: int, account: str, creation: int, attempt: int) -> str:
    """The last 8 characters of a task's id; another `attempt` makes another one."""
    text = f"{seed}/{account}/{creation}/task/{attempt}".encode()
    return blake2b(text, digest_size=8).digest().translate(_ID_CHARACTERS).decode()


def chance(seed: int, account: str, creation: int, purpose: str) -> float:
    """A number in 0 <= x < 1, drawn like `number`."""
    return number(seed, account, creation, purpose) / float(2**_BITS)


def run_key(seed: int) -> str:
    """The key that a run with this seed gives to its command."""
    return f"sk-run-{blake2b(f'{seed}/run'.encode(), digest_size=12).hexdigest()}"


def account_name(key: str) -> str:
    """The public name of a key's account, 18 of A-Z0-9 as in result links (recorded); the key cannot be told."""
    digits = int.from_bytes(blake2b(key.encode(), digest_size=16, person=b"sora-mock").digest())
    name = ""
    for _ in range(18):
        digits, digit = divmod(digits, 36)
        name += ACCOUNT_CHARACTERS[digit]
    return name
