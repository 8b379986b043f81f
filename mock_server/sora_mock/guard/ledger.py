"""The purse on disk: what the guard may still spend, shared by every process that names the same file."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from sora_mock.domain.ledger import to_credits
from sora_mock.guard.file_lock import locked
from sora_mock.runtime.clock import real_now

Purse = Literal["accept", "surprise"]

HEADER: Final = b'{"sora-mock-ledger":1}\n'
"""The first line of every ledger; no other file is ever written to."""


class LedgerError(Exception):
    """A file that cannot be used as a ledger; the text is one line that names it."""


@dataclass(frozen=True)
class SpendingLimits:
    """What may be spent, in units of 1/10,000 credit. `surprise` is set aside from `cap` for the surprise purse."""

    cap: int
    surprise: int = 0

    def of(self, purse: Purse) -> int:
        """The size of one purse."""
        return self.surprise if purse == "surprise" else self.cap - self.surprise


@dataclass(frozen=True)
class Book:
    """What was spent so far, in units. What was reserved and never settled is spent.

    closed: why nothing more may be spent; None while the purse is open.
    """

    accept: int = 0
    surprise: int = 0
    closed: str | None = None

    @property
    def spent(self) -> int:
        """Both purses together."""
        return self.accept + self.surprise

    def refusal(self, limits: SpendingLimits, purse: Purse, price: int) -> str | None:
        """Why `price` may not be reserved; None where it may.

        The cap is asked beside the purse, because another guard on this ledger may divide its cap otherwise.
        """
        if self.closed is not None:
            return f"the purse is closed: {self.closed}"
        held: int = getattr(self, purse)
        if held + price > limits.of(purse) or self.spent + price > limits.cap:
            left = max(0, min(limits.of(purse) - held, limits.cap - self.spent))
            return (
                f"it could cost {to_credits(price)} credits, and the {purse} purse has {to_credits(left)} left"
                f" (cap {to_credits(limits.cap)}, spent {to_credits(self.spent)})"
            )
        return None

    def after(self, entry: dict[str, Any]) -> "Book":
        """The book with one line of the file taken in. Raises ValueError for a line that no ledger has."""
        match entry:
            case {"do": "reserve", "purse": "accept" | "surprise" as purse, "units": int(units)} if units >= 0:
                return self._plus(purse, units)
            case {
                "do": "settle",
                "purse": "accept" | "surprise" as purse,
                "reserved": int(reserved),
                "units": int(units),
            } if units >= 0 and 0 <= reserved <= getattr(self, purse):
                return self._plus(purse, units - reserved)
            case {"do": "close", "reason": str(reason)}:
                return replace(self, closed=self.closed or reason)
        raise ValueError("no line of a ledger")

    def _plus(self, purse: str, units: int) -> "Book":
        if purse == "surprise":
            return replace(self, surprise=self.surprise + units)
        return replace(self, accept=self.accept + units)


@dataclass(frozen=True)
class Reservation:
    """Money set aside for one request that may be sent now, in units."""

    purse: Purse
    units: int
    number: int
    """Where its line stands in the file: no two reservations share it."""


class SpendingLedger:
    """An append-only file of reservations and what became of them.

    Every change takes the file's lock, reads what others wrote, decides, appends one line and syncs it to the disk.
    A line that a crash cut short was never acted on and is dropped. Raises LedgerError for a file that is no ledger.
    """

    def __init__(self, path: Path, limits: SpendingLimits) -> None:
        self.path = path
        self.limits = limits
        self._book = Book()
        self._read_to = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as problem:
            raise LedgerError(f"cannot use the ledger {path}: {problem.strerror}") from None
        try:
            with self._locked():
                os.fsync(self._file)
        except BaseException:
            self.close()
            raise
        _sync_folder(path.parent)

    def reserve(self, purse: Purse, units: int) -> Reservation | str:
        """Sets `units` aside, on the disk before it returns; or says why it may not. Raises LedgerError and OSError."""
        with self._locked():
            refused = self._book.refusal(self.limits, purse, units)
            if refused is not None:
                return refused
            number = self._read_to
            self._append({"do": "reserve", "purse": purse, "units": units, "at": round(real_now(), 3)})
            return Reservation(purse, units, number)

    def settle(self, reservation: Reservation, units: int, task: str | None = None) -> None:
        """Books what a reservation really cost: 0 gives it back. To be called once at most; never called, it is spent.

        task: the task that was bought, kept for whoever reads the file. Raises LedgerError and OSError.
        """
        entry = {
            "do": "settle",
            "purse": reservation.purse,
            "number": reservation.number,
            "reserved": reservation.units,
            "units": units,
            **({} if task is None else {"task": task}),
        }
        with self._locked():
            self._append(entry)

    def charge(self, units: int, task: str | None, reason: str) -> bool:
        """Books what was spent without a reservation, even beyond the cap, and ends all spending; as `close_purse`."""
        with self._locked():
            self._append(
                {"do": "reserve", "purse": "surprise", "units": units, "at": round(real_now(), 3), "task": task}
            )
        return self.close_purse(reason)

    def close_purse(self, reason: str) -> bool:
        """Ends all spending on this ledger, in every process and after every restart; whether it was open until now."""
        with self._locked():
            was_open = self._book.closed is None
            if was_open:
                self._append({"do": "close", "reason": reason, "at": round(real_now(), 3)})
            return was_open

    def book(self) -> Book:
        """What was spent by now, by whomever. Raises LedgerError."""
        with self._locked():
            return self._book

    def close(self) -> None:
        """Gives the file back; it stays where it is."""
        os.close(self._file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the file's lock, with everything read that others have written."""
        with locked(self._file):
            self._catch_up()
            yield

    def _catch_up(self) -> None:
        found = os.fstat(self._file)
        size = found.st_size
        if found.st_nlink == 0:
            raise LedgerError(f"the ledger {self.path} was removed while it was in use")
        if size < self._read_to:
            raise LedgerError(f"the ledger {self.path} was cut short while it was in use")
        os.lseek(self._file, self._read_to, os.SEEK_SET)
        fresh = b""
        while len(fresh) < size - self._read_to:
            fresh += os.read(self._file, size - self._read_to - len(fresh))
        if self._read_to == 0:
            if not fresh.startswith(HEADER):
                if not HEADER.startswith(fresh):
                    raise LedgerError(f"{self.path} is not a ledger of sora-mock guard")
                os.ftruncate(self._file, 0)
                self._write(HEADER)
                return
            self._read_to, fresh = len(HEADER), fresh[len(HEADER) :]
        *lines, torn = fresh.split(b"\n")
        for line in lines:
            self._take(line)
        if torn and self._is_whole(torn):
            # an editor took the end of the line away; the line counts
            self._write(torn + b"\n")
            self._book = self._book.after(msgspec.json.decode(torn))
        elif torn:
            # the writer died before its line was whole, so before it sent anything
            os.ftruncate(self._file, self._read_to)

    def _is_whole(self, line: bytes) -> bool:
        try:
            self._book.after(msgspec.json.decode(line, type=dict[str, Any]))
        except (ValueError, msgspec.MsgspecError):
            return False
        return True

    def _take(self, line: bytes) -> None:
        try:
            self._book = self._book.after(msgspec.json.decode(line, type=dict[str, Any]))
        except (ValueError, msgspec.MsgspecError):
            raise LedgerError(f"the ledger {self.path} is damaged at byte {self._read_to}") from None
        self._read_to += len(line) + 1

    def _append(self, entry: dict[str, Any]) -> None:
        self._write(msgspec.json.encode(entry) + b"\n")
        self._book = self._book.after(entry)

    def _write(self, line: bytes) -> None:
        """Appends one line and waits for the disk. A line that could not be written whole is taken away again."""
        start = self._read_to
        try:
            os.lseek(self._file, start, os.SEEK_SET)
            if os.write(self._file, line) != len(line):
                raise OSError(28, "the disk is full")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, start)
            raise
        self._read_to = start + len(line)


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk only once its folder is."""
    # on Windows a folder cannot be opened
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
