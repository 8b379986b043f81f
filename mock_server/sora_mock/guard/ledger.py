"""The spending ledger: a file that counts what the guard spends. Several processes can use one file."""

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

Budget = Literal["main", "rejection"]
"""The main budget pays for valid create requests, the rejection budget for requests that the service should reject."""

_FILE_NAMES: Final[dict[Budget, str]] = {"main": "accept", "rejection": "surprise"}
"""The names of the budgets in a ledger file. They are part of the format."""

HEADER: Final = b'{"sora-mock-ledger":1}\n'
"""The first line of every ledger. The guard writes to no file without it."""


class LedgerError(Exception):
    """The file cannot be used as a ledger. The text is one line with its name."""


@dataclass(frozen=True)
class SpendingLimits:
    """What the guard may spend, in units of 1/10,000 credit. `rejection`: the rejection budget, a part of `cap`."""

    cap: int
    rejection: int = 0

    def of(self, budget: Budget) -> int:
        """The size of one budget in units."""
        return self.rejection if budget == "rejection" else self.cap - self.rejection


@dataclass(frozen=True)
class Book:
    """What was spent so far, in units. A reservation counts as spent until it is settled.

    main, rejection: spent from each budget. closed: why the guard must spend nothing more, None while it may.
    """

    main: int = 0
    rejection: int = 0
    closed: str | None = None

    @property
    def spent(self) -> int:
        """The sum of both budgets."""
        return self.main + self.rejection

    def rejection_reason(self, limits: SpendingLimits, budget: Budget, price: int) -> str | None:
        """Why `price` cannot be reserved, None if it can.

        This checks the budget and the cap, because another guard with this ledger may divide its cap differently.
        """
        if self.closed is not None:
            return f"the budget is closed: {self.closed}"
        left = self.left(limits, budget)
        if price > left:
            return (
                f"it could cost {to_credits(price)} credits, and the {budget} budget has {to_credits(left)} left"
                f" (cap {to_credits(limits.cap)}, spent {to_credits(self.spent)})"
            )
        return None

    def left(self, limits: SpendingLimits, budget: Budget | None = None) -> int:
        """What can still be reserved of the cap, or of one budget. 0 if the budget is closed."""
        of_cap = 0 if self.closed is not None else max(0, limits.cap - self.spent)
        return of_cap if budget is None else max(0, min(limits.of(budget) - getattr(self, budget), of_cap))

    def after(self, entry: dict[str, Any]) -> "Book":
        """The book after one line of the file. Raises ValueError for a line that is not one of a ledger."""
        match entry:
            case {"do": "reserve", "purse": "accept" | "surprise" as name, "units": int(units)} if units >= 0:
                return self._plus(_budget(name), units)
            case {
                "do": "settle",
                "purse": "accept" | "surprise" as name,
                "reserved": int(reserved),
                "units": int(units),
            } if units >= 0 and 0 <= reserved <= getattr(self, _budget(name)):
                return self._plus(_budget(name), units - reserved)
            case {"do": "close", "reason": str(reason)}:
                return replace(self, closed=self.closed or reason)
        raise ValueError("not a line of a ledger")

    def _plus(self, budget: Budget, units: int) -> "Book":
        if budget == "rejection":
            return replace(self, rejection=self.rejection + units)
        return replace(self, main=self.main + units)


def _budget(name: str) -> Budget:
    """The budget that a ledger file calls `name`."""
    return "rejection" if name == _FILE_NAMES["rejection"] else "main"


@dataclass(frozen=True)
class Reservation:
    """What is reserved for one request, in units. The guard may send the request now."""

    budget: Budget
    units: int
    number: int
    """The position of its line in the file in bytes. It is unique in the file."""


class SpendingLedger:
    """An append-only file of reservations and their costs.

    Every change takes the file's lock, reads the new lines, decides, appends one line and syncs it to the disk.
    A crash can leave an incomplete last line. Its writer sent no request, so the ledger drops the line.
    Raises LedgerError for a file that is not a ledger.
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

    def reserve(self, budget: Budget, units: int) -> Reservation | str:
        """Reserves `units` and syncs the disk, or returns why it cannot. Raises LedgerError and OSError."""
        with self._locked():
            rejected = self._book.rejection_reason(self.limits, budget, units)
            if rejected is not None:
                return rejected
            number = self._read_to
            self._append(_reserve_entry(budget, units))
            return Reservation(budget, units, number)

    def reserve_rest(self, budget: Budget, units: int, least: int) -> Reservation | str:
        """Reserves all that is left of the cap, so that no process can reserve anything until this is settled.

        Returns why it cannot if `budget` has less than `units` left, or the whole cap less than `least`.
        Raises LedgerError and OSError.
        """
        with self._locked():
            rejected = self._book.rejection_reason(self.limits, budget, units)
            left = self._book.left(self.limits)
            if rejected is None and least > left:
                rejected = f"it could cost {to_credits(least)} credits, and the cap has {to_credits(left)} left"
            if rejected is not None:
                return rejected
            number = self._read_to
            self._append(_reserve_entry(budget, left))
            return Reservation(budget, left, number)

    def settle(self, reservation: Reservation, units: int, task: str | None = None) -> None:
        """Books the real cost of a reservation in units; 0 returns it. Call this at most once for a reservation.

        A reservation that is never settled stays spent. task: the id of the task that it paid for, a note for readers
        of the file. Raises LedgerError and OSError.
        """
        entry = {
            "do": "settle",
            "purse": _FILE_NAMES[reservation.budget],
            "number": reservation.number,
            "reserved": reservation.units,
            "units": units,
            **({} if task is None else {"task": task}),
        }
        with self._locked():
            self._append(entry)

    def close_budget(self, reason: str) -> bool:
        """Ends all spending on this ledger, in every process and after every restart. False if it was closed before."""
        with self._locked():
            was_open = self._book.closed is None
            if was_open:
                self._append({"do": "close", "reason": reason, "at": round(real_now(), 3)})
            return was_open

    def book(self) -> Book:
        """What all processes spent by now. Raises LedgerError."""
        with self._locked():
            return self._book

    def close(self) -> None:
        """Closes the file and keeps it on the disk."""
        os.close(self._file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the file's lock after it has read the new lines of other processes."""
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
            # an editor removed the newline; the line counts
            self._write(torn + b"\n")
            self._book = self._book.after(msgspec.json.decode(torn))
        elif torn:
            # the writer ended before its line was complete, so it sent no request
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
        """Appends one line and waits for the disk. If that fails, it removes the incomplete line."""
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


def _reserve_entry(budget: Budget, units: int) -> dict[str, Any]:
    return {"do": "reserve", "purse": _FILE_NAMES[budget], "units": units, "at": round(real_now(), 3)}


def _sync_folder(folder: Path) -> None:
    """Syncs a folder, because only then the name of a new file is on the disk."""
    # Windows cannot open a folder
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
