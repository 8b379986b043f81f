"""Ids and random choices that follow from the seed of a run, so that a run can be repeated."""

from hashlib import blake2b

_BITS = 64
# 36 characters for 256 values: some appear an eighth more often than others, which does not matter here
_ID_CHARACTERS = bytes(b"0123456789abcdefghijklmnopqrstuvwxyz"[value % 36] for value in range(256))
ACCOUNT_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""The characters of an account's public name."""


def number(seed: int, account: str, create_number: int, purpose: str) -> int:
    """A random integer from 0 to 2**64 - 1 that depends on exactly these four values.

    account: public name, so that accounts get independent random choices.
    create_number: counts the account's create requests, from 0.
    purpose: what the random choice is for.
    """
    text = f"{seed}/{account}/{create_number}/{purpose}".encode()
    return int.from_bytes(blake2b(text, digest_size=_BITS // 8).digest())


def task_suffix(seed: int, account: str, create_number: int, attempt: int) -> str:
    """The last 8 characters of a task's id, of 0-9a-z. Another `attempt` gives another suffix."""
    text = f"{seed}/{account}/{create_number}/task/{attempt}".encode()
    return blake2b(text, digest_size=8).digest().translate(_ID_CHARACTERS).decode()


def chance(seed: int, account: str, create_number: int, purpose: str) -> float:
    """A random number from 0 to below 1 that depends on exactly these four values, as `number` does."""
    return number(seed, account, create_number, purpose) / float(2**_BITS)


def run_key(seed: int) -> str:
    """The API key that `sora-mock run` with this seed gives to its command."""
    return f"sk-run-{blake2b(f'{seed}/run'.encode(), digest_size=12).hexdigest()}"


def account_name(key: str) -> str:
    """The public name of an API key's account: 18 characters of A-Z0-9, as in result links (docs/fidelity.md, R).

    The name does not reveal the key.
    """
    digits = int.from_bytes(blake2b(key.encode(), digest_size=16, person=b"sora-mock").digest())
    name = ""
    for _ in range(18):
        digits, digit = divmod(digits, 36)
        name += ACCOUNT_CHARACTERS[digit]
    return name
