"""The evidence file: no result is lost when runs end at the same time."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sora_mock.verify import evidence, runner

RULES = runner.load_rules()[:24]


def keep(path: Path, number: int) -> None:
    evidence.keep(path, [runner.CheckResult(RULES[number], runner.PASSED)], "live")


def test_runs_that_end_at_once_all_find_their_place(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    with ProcessPoolExecutor(4) as pool:
        for done in [pool.submit(keep, path, number) for number in range(len(RULES))]:
            done.result(60)
    assert evidence.read(path).keys() == {rule.id for rule in RULES}
    assert [each.name for each in tmp_path.iterdir()] == ["evidence.json"]


def test_what_was_not_checked_keeps_what_was_known(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    evidence.keep(path, [runner.CheckResult(RULES[0], runner.FAILED)], "live")
    known = evidence.keep(path, [runner.CheckResult(RULES[0], runner.UNVERIFIED)], "live")
    assert evidence.standing(known, RULES[0].id, "live").startswith("broken on ")
    assert evidence.standing(known, RULES[0].id, "mock") == "never verified"


def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    (tmp_path / "evidence.json.new").mkdir()
    evidence.keep(path, [runner.CheckResult(RULES[0], runner.PASSED)], "live")
    assert evidence.read(path).keys() == {RULES[0].id}
