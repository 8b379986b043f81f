"""`scripts/attack`: runs the attacks, each in a process of its own, and writes their table."""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# the import of a module registers its attacks, in the order of the table
from tests.attack import access, addresses, clocks, closure, guard, keys, load, memory, mutated, stopping
from tests.attack.registry import ATTACKS, Attack, perform

MODULES = (access, mutated, addresses, clocks, keys, load, memory, stopping, guard)

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "attack"
PAGE = ROOT / "docs" / "security.md"
SHORT_SECONDS = 20.0
"""Real seconds after which an attack of the short version is stopped."""

GRACE = 15.0
"""Real seconds for the step in which an attack notices that its time is over."""

Result = dict[str, Any]


def attacks() -> list[Attack]:
    """Every attack, in the order of the table."""
    order = [module.__name__ for module in MODULES]
    return sorted(ATTACKS.values(), key=lambda each: order.index(each.function.__module__))


def run_attack(attack: Attack, tries: int, seed: int, seconds: float) -> Result:
    """Runs an attack in a process of its own, for `seconds` at most.

    The attack ends itself then, with what it found so far. One that hangs is killed, with all servers that it started.
    """
    command = [sys.executable, str(SCRIPT), attack.name, "--child", "--tries", str(tries), "--seed", str(seed)]
    command += ["--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=seconds + GRACE)
        return dict(json.loads(out))
    except (subprocess.TimeoutExpired, ValueError) as problem:
        reason = "hung and was killed" if isinstance(problem, subprocess.TimeoutExpired) else "crashed"
        return {"tried": 0, "failed": 1, "failures": [f"the attack {reason}"], "measured": {}, "seconds": seconds}
    finally:
        # the servers are in the session of the attack
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run_short(attack: Attack, seed: int = 1) -> Result:
    """Runs the short version of an attack."""
    return run_attack(attack, attack.short or 0, seed, SHORT_SECONDS)


def main() -> int:
    """Runs the attacks. Exit code 1 where one of them breaks a promise."""
    options = _options()
    chosen = [each for each in attacks() if not options.names or each.name in options.names]
    if options.list:
        for each in chosen:
            print(f"{each.name:20} {each.tries:>7,} tries: {each.what}")
        return 0
    if options.child:
        # what an attack prints by mistake must not be in the result
        with contextlib.redirect_stdout(sys.stderr):
            result = perform(chosen[0].name, options.tries, options.seed, options.seconds)
        print(json.dumps(result))
        return 0
    if options.short:
        chosen = [each for each in chosen if each.short is not None]
    results = {}
    for each in chosen:
        print(f"{each.name:20} ", end="", flush=True)
        if options.short:
            result = run_short(each, options.seed)
        else:
            tries = max(each.short or 1, round(each.tries * options.scale))
            result = run_attack(each, tries, options.seed, 30 + each.seconds * max(1.0, options.scale))
        results[each.name] = result
        print(f"{result['tried']:>9,} tried  {_outcome(result)}  ({result['seconds']:.1f} s)")
        for failure in result["failures"]:
            print(f"{'':21}{failure}")
    if options.write:
        write(results, options)
    return int(any(result["failed"] for result in results.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Attacks sora-mock on loopback; exit code 1 where a promise breaks.")
    parser.add_argument("names", nargs="*", metavar="ATTACK", help="run only these [default: all]")
    parser.add_argument("--list", action="store_true", help="list the attacks")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many tries [default: 1]")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random choices [default: 1]")
    parser.add_argument("--short", action="store_true", help="the short version, as in CI")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/security.md")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--tries", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - ATTACKS.keys():
        parser.error(f"unknown attack {', '.join(sorted(unknown))}; --list shows all")
    if options.write and (options.names or options.short):
        parser.error("--write needs all attacks in full: leave out names and --short")
    return options


def _outcome(result: Result) -> str:
    words = "held" if not result["failed"] else f"{result['failed']} failed"
    measured = "; ".join(f"{name}: {value}" for name, value in result["measured"].items())
    return f"{words}; {measured}" if measured else words


def write(results: dict[str, Result], options: argparse.Namespace) -> None:
    """Writes both tables into docs/security.md."""
    total = sum(result["tried"] for result in results.values())
    seconds = sum(result["seconds"] for result in results.values())
    command = "scripts/attack --write" + ("" if options.scale == 1 else f" --scale {options.scale:g}")
    lines = [
        f"`{command}` on {datetime.now(UTC):%Y-%m-%d}, seed {options.seed}: {total:,} tries in {seconds:.0f} s, Python "
        f"{platform.python_version()} on {platform.system()} {platform.machine()} with {os.cpu_count()} processors.",
        "",
        "| attack | what is tried | tried | result | promise |",
        "|---|---|---|---|---|",
    ]
    for each in attacks():
        result = results[each.name]
        outcome = _outcome(result) if not result["failed"] else f"**{_outcome(result)}**"
        lines.append(f"| `{each.name}` | {each.what} | {result['tried']:,} | {outcome} | {each.promise} |")
    page = PAGE.read_text(encoding="utf-8")
    page = _replaced(page, "attacks", lines)
    page = _replaced(page, "packages", closure.table())
    PAGE.write_text(page, encoding="utf-8")


def _replaced(page: str, name: str, lines: list[str]) -> str:
    """The page with other lines between the marks of that name."""
    begin, end = f"<!-- {name}: made by scripts/attack --write -->\n", f"<!-- end of the {name} -->\n"
    before, _, rest = page.partition(begin)
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]
