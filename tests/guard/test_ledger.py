"""The spending ledger: what counts as spent, and that no process spends beyond the cap."""

import subprocess
import sys
from pathlib import Path

import pytest

from sora_mock.guard.ledger import HEADER, Book, Budget, LedgerError, Reservation, SpendingLedger, SpendingLimits

PRICE = 57_600


def reserved(ledger: SpendingLedger, units: int = PRICE) -> Reservation:
    found = ledger.reserve("main", units)
    assert isinstance(found, Reservation)
    return found


def test_a_reservation_that_was_never_settled_is_spent_after_a_restart(tmp_path: Path) -> None:
    reserved(SpendingLedger(tmp_path / "l", SpendingLimits(PRICE)))
    assert isinstance(SpendingLedger(tmp_path / "l", SpendingLimits(PRICE)).reserve("main", PRICE), str)


def test_a_returned_reservation_can_be_spent_again(tmp_path: Path) -> None:
    ledger = SpendingLedger(tmp_path / "l", SpendingLimits(PRICE))
    ledger.settle(reserved(ledger), 0)
    assert ledger.book().spent == 0
    reserved(ledger)


def test_two_ledgers_of_one_file_have_one_cap(tmp_path: Path) -> None:
    one, other = (SpendingLedger(tmp_path / "l", SpendingLimits(2 * PRICE)) for _ in range(2))
    first = reserved(one)
    reserved(other)
    assert isinstance(one.reserve("main", 1), str)
    other.settle(first, 0)
    reserved(one)
    assert one.book() == other.book() == Book(main=2 * PRICE)


def test_the_rejection_budget_is_part_of_the_cap(tmp_path: Path) -> None:
    ledger = SpendingLedger(tmp_path / "l", SpendingLimits(144_000, 86_400))
    assert isinstance(ledger.reserve("main", 57_601), str)
    assert isinstance(ledger.reserve("rejection", 86_400), Reservation)
    assert isinstance(ledger.reserve("rejection", 1), str)
    reserved(ledger, 57_600)
    # another division of the same cap finds nothing left either
    assert isinstance(SpendingLedger(tmp_path / "l", SpendingLimits(144_000)).reserve("main", 1), str)


def test_a_closed_budget_stays_closed(tmp_path: Path) -> None:
    ledger = SpendingLedger(tmp_path / "l", SpendingLimits(PRICE))
    assert [ledger.close_budget("402"), ledger.close_budget("again")] == [True, False]
    assert "402" in str(SpendingLedger(tmp_path / "l", SpendingLimits(PRICE)).reserve("main", 0))


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "l"
    reserved(SpendingLedger(path, SpendingLimits(3 * PRICE)))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"do":"reserve","purse":"acc')
    ledger = SpendingLedger(path, SpendingLimits(3 * PRICE))
    assert (ledger.book().main, path.read_bytes()) == (PRICE, whole)
    path.write_bytes(HEADER[:5])
    assert SpendingLedger(path, SpendingLimits(PRICE)).book() == Book()


def test_a_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "l"
    reserved(SpendingLedger(path, SpendingLimits(PRICE)))
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip(b"\n"))
    assert isinstance(SpendingLedger(path, SpendingLimits(PRICE)).reserve("main", PRICE), str)
    assert path.read_bytes() == whole


def test_a_ledger_that_was_removed_pays_for_nothing_more(tmp_path: Path) -> None:
    ledger = SpendingLedger(tmp_path / "l", SpendingLimits(PRICE))
    (tmp_path / "l").unlink()
    SpendingLedger(tmp_path / "l", SpendingLimits(PRICE))
    with pytest.raises(LedgerError, match="removed"):
        ledger.reserve("main", PRICE)


def test_what_is_left_is_reserved_as_one_operation_and_nothing_else_until_it_is_settled(tmp_path: Path) -> None:
    one, other = (SpendingLedger(tmp_path / "l", SpendingLimits(500_000, 86_400)) for _ in range(2))
    first = reserved(one)
    rest = one.reserve_rest("rejection", 86_400, 86_400)
    assert isinstance(rest, Reservation)
    assert rest.units == 500_000 - PRICE
    assert one.book().spent == 500_000
    budgets: list[Budget] = ["main", "rejection"]
    for budget in budgets:
        assert isinstance(other.reserve(budget, 1), str)
        assert isinstance(other.reserve_rest(budget, 1, 1), str)
    other.settle(rest, 70_000)
    other.settle(first, 0)
    assert other.book() == Book(rejection=70_000)
    reserved(other)


def test_what_is_left_is_not_reserved_where_it_is_less_than_the_price(tmp_path: Path) -> None:
    ledger = SpendingLedger(tmp_path / "l", SpendingLimits(144_000, 86_400))
    assert "14.4001" in str(ledger.reserve_rest("rejection", 86_400, 144_001))
    assert isinstance(ledger.reserve_rest("main", 57_601, 57_601), str)
    assert isinstance(SpendingLedger(tmp_path / "l", SpendingLimits(144_000)).reserve_rest("rejection", 1, 1), str)
    assert ledger.book() == Book()
    ledger.close_budget("402")
    assert "402" in str(ledger.reserve_rest("main", 1, 1))


def test_processes_at_once_reserve_what_is_left_only_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from sora_mock.guard.ledger import *\n"
        "ledger = SpendingLedger(Path(sys.argv[1]), SpendingLimits(50))\n"
        "print(sum(isinstance(ledger.reserve_rest('main', 1, 1), Reservation) for _ in range(40)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "l")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sum(int(each.communicate(timeout=60)[0]) for each in running) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"{}\n",
        HEADER + b"hello\n",
        HEADER + b'{"do":"reserve","purse":"accept","units":-5}\n',
        HEADER + b'{"do":"settle","purse":"accept","reserved":5,"units":0}\n',
        HEADER + b"\xff\n",
    ],
)
def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="notes"):
        SpendingLedger(path, SpendingLimits(PRICE))
    assert path.read_bytes() == content


def test_processes_at_once_never_exceed_the_cap(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from sora_mock.guard.ledger import *\n"
        "ledger = SpendingLedger(Path(sys.argv[1]), SpendingLimits(50))\n"
        "print(sum(isinstance(ledger.reserve('main', 1), Reservation) for _ in range(40)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "l")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sum(int(each.communicate(timeout=60)[0]) for each in running) == 50
