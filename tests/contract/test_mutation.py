"""The blind changes: the same for each seed, only where behaviour is, and seen by the suite."""

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.contract import mutation, mutation_run
from tests.contract.mutation import Site, mutant, sample, sites
from tests.contract.mutation_scope import SCOPES, SOURCES

ROOT = Path(__file__).resolve().parents[2]

BY_HAND = (
    "return msgspec.structs.replace(self, processing_at=started, ended_at=now, outcome=outcome,...  ->  return None"
)
RULES = ("life.moments", "life.end.exact", "money.completed.10", "auth.key.works")


def place(kind: str, change: str, file: str, where: str = "") -> Site:
    """The place of this change, under a name that gives exactly this change."""
    for site in sites(file, 1):
        # the name chooses among the possible changes
        for name in (f"{number:08x}" for number in range(4)):
            if (site.kind, site.place) == (kind, where) and mutant(replace(site, name=name))[1] == change:
                return replace(site, name=name)
    raise AssertionError(change)


def test_a_seed_gives_the_same_places_and_another_seed_gives_others() -> None:
    assert sample(1, 30) == sample(1, 30)
    assert sample(1, 30) == sample(1, 60)[:30]
    assert {site.node for site in sample(2, 30)} != {site.node for site in sample(1, 30)}


def test_there_are_places_in_every_file_and_each_change_is_one() -> None:
    for file in SCOPES:
        tree = ast.dump(ast.parse((SOURCES / file).read_text(encoding="utf-8")))
        found = sites(file, 1)
        assert found
        for site in found[::40]:
            changed, what = mutant(site)
            compile(changed, file, "exec")
            assert ast.dump(changed) != tree, what


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ('"""What it is."""\n', set()),
        ("def f(x: int = 3) -> Literal['a']:\n    return g(x)\n", {"constant", "result"}),
        ("raise ValueError('two words')\n", {"removal"}),
        ("print('x', 1)\nassert x == 1\n", set()),
        (
            "if a < b and c:\n    x += 1\n",
            {"boolean", "comparison", "condition", "branch", "arithmetic", "constant", "removal"},
        ),
        ("Kind = Literal['a', 'b']\nclass A(B, frozen=True):\n    __slots__ = ('a',)\n", set()),
        ("x = min(a, b)\n", {"call"}),
        ("x = -y\n", {"sign"}),
    ],
)
def test_code_without_visible_behaviour_is_no_place(text: str, kinds: set[str]) -> None:
    nodes = [node for node, _ in mutation._walk(ast.parse(text), "")]
    assert {kind for kind, change in mutation.KINDS.items() for node in nodes if next(change(node), None)} == kinds


RUN = """
import json, sys
from dataclasses import asdict
from tests.contract import mutation_run
from tests.contract.mutation import Site

sites = [Site(**each) for each in json.loads(sys.argv[1])]
found = mutation_run.run_all(sites, lambda site, outcome: None, 2, json.loads(sys.argv[2]))
print(json.dumps([asdict(outcome) for _, outcome in found]))
"""


def outcomes(only: Sequence[str], *chosen: Site) -> list[mutation_run.Outcome]:
    """The outcomes of changes, from a process of its own: it forks, so it needs a process without threads."""
    arguments = [json.dumps([asdict(site) for site in chosen]), json.dumps(only)]
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    return [mutation_run.Outcome(**each) for each in json.loads(done.stdout.splitlines()[-1])]


def test_changes_are_caught_by_a_rule_or_before_the_first_rule_and_an_unchanged_copy_is_not() -> None:
    late = place("comparison", "now >= plan.ended_at  ->  now > plan.ended_at", "domain/lifecycle.py", "status")
    unchanged = Site("0" * 8, "domain/lifecycle.py", 0, "", mutation.UNCHANGED, 0)
    no_import = place("constant", "'64:ff9b::/96'  ->  ''", "domain/callback_url.py")
    no_account = place("removal", "self.defaults = defaults  ->  pass", "storage/memory.py", "MemoryStorage.__init__")
    seen, kept, unstarted, closed = outcomes(RULES, late, unchanged, no_import, no_account)
    assert (seen.outcome, seen.rule.split(".")[0]) == (mutation_run.CAUGHT, "life")
    assert (kept.outcome, kept.rule) == (mutation_run.SURVIVED, "")
    assert (unstarted.outcome, unstarted.rule) == (mutation_run.NO_START, "")
    assert closed.outcome == mutation_run.NOT_LET_IN


def test_a_mock_that_cannot_be_steered_is_not_merely_unverified() -> None:
    [found] = outcomes(["life.finished"], place("result", BY_HAND, "domain/plan.py", "Plan.ending"))
    assert found.outcome == mutation_run.CAUGHT


def test_the_summary_counts_changes_that_did_not_start_apart() -> None:
    sampled = sample(1, 4)
    ends = (mutation_run.CAUGHT, mutation_run.NO_START, mutation_run.HUNG, mutation_run.SURVIVED)
    text = mutation_run.summary(
        [(site, mutation_run.Outcome(end)) for site, end in zip(sampled, ends, strict=True)], 1.0
    )
    assert "3 of 4 caught (75.0 %)" in text
    assert "without those that do not start 2 of 3 (66.7 %)" in text
