"""`sora-mock verify URL`: starts pytest on the contract suite and returns an exit code of its own."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from sora_mock.runtime.package_data import data_folder
from sora_mock.verify import evidence, finish, plugin
from sora_mock.verify.beside import SecondProcess
from sora_mock.verify.exits import EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Stop
from sora_mock.verify.flags import pytest_arguments
from sora_mock.verify.openapi import OPENAPI_FILE, may_be_selected
from sora_mock.verify.target import target_of, target_url

MAX_PROCESSES: Final = 2
"""Workers of pytest-xdist. The mock under test needs a processor too."""

_SHOWN: Final = ("--no-header", "-q", "--tb=short", "-o", "console_output_style=classic")
"""Arguments of pytest: it shows failures, and no letter for each test, because the bar replaces the letters."""

_NO_REPORTS: Final = dict.fromkeys(("junit", "json", "html", "evidence"))

_EXIT_CODES: Final = {
    pytest.ExitCode.OK: EXIT_OK,
    pytest.ExitCode.TESTS_FAILED: EXIT_BROKEN,
    pytest.ExitCode.INTERRUPTED: EXIT_INTERRUPTED,
    pytest.ExitCode.USAGE_ERROR: EXIT_USAGE,
    pytest.ExitCode.NO_TESTS_COLLECTED: EXIT_USAGE,
}


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit code. An error is one line on standard error."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except Stop as stop:
        return _stopped(stop)
    except KeyboardInterrupt:
        print("sora-mock verify: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, former)


def _stopped(stop: Stop) -> int:
    print(f"sora-mock verify: {stop}", file=sys.stderr)
    return stop.code


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _list(options)
    options.url = target_url(options.url)
    _check_files(options)
    given = [*pytest_arguments(options), *options.pytest_arguments]
    arguments = [*_arguments(), f"--base-url={options.url}", *_SHOWN, *given]
    plugins: list[object] = []
    generates = may_be_selected(options.only, options.skip, _keyword(options.pytest_arguments))
    if generates:
        arguments += _seeded(options)
    if target_of(options.url, options).is_mock and not _is_in_one_process(options):
        if generates:
            plugins.append(SecondProcess(_of_second_process(options)))
        arguments += ["-n", str(min(MAX_PROCESSES, os.cpu_count() or 1)), "--contract-no-openapi"]
    return _pytest(arguments, plugins)


def _list(options: argparse.Namespace) -> int:
    """Prints the rules, and nothing of pytest's own."""
    given = [*options.pytest_arguments]
    if options.url is not None and options.url.startswith("-"):
        # the list needs no URL, so the first argument of pytest came in its place
        given.insert(0, options.url)
    return _pytest([*_arguments(), "-p", "no:terminal", "--contract-no-openapi", *pytest_arguments(options), *given])


def _pytest(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Runs pytest and returns our exit code."""
    watch = _Watch()
    # nothing is written beside the suite, which may be in site-packages
    sys.dont_write_bytecode = True
    # nor by the workers and the second process
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # what a project sets for its own tests
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "sora-mock-hypothesis"))
    return _exit_code(pytest.main([*arguments], plugins=[watch, *plugins]), watch)


def _check_files(options: argparse.Namespace) -> None:
    for path in (options.junit, options.json, options.html, options.evidence):
        finish.check_writable(path)
    try:
        evidence.check(options.evidence)
    except evidence.BadEvidence as problem:
        raise Stop(EXIT_USAGE, str(problem)) from None


def _arguments(*, workers: bool = True) -> list[str]:
    """What every run of pytest gets; the last one is the folder."""
    folder = data_folder("contract_tests")
    arguments = ["-c", str(folder / "pytest.ini"), f"--rootdir={folder}", "-p", "sora_mock.verify.plugin"]
    arguments += ["-o", f"cache_dir={os.getcwd()}/.pytest_cache", "--contract-verify"]
    if workers and find_spec("xdist") is not None:
        arguments += ["-p", "xdist"]
    return [*arguments, str(folder)]


def _is_in_one_process(options: argparse.Namespace) -> bool:
    """Whether `verify` starts no workers: for single ids, and where the user gives arguments to pytest.

    Many of those need one process, as `-x` and `--pdb`. With `-n`, pytest starts the workers that the user asks for.
    """
    one_id = bool(options.only) and not any(set(each) & set("*?[") for each in options.only)
    return one_id or bool(options.pytest_arguments) or find_spec("xdist") is None


def _keyword(arguments: Sequence[str]) -> str:
    """The expression of pytest's `-k` among the arguments; empty for none."""
    for number, argument in enumerate(arguments):
        if argument == "-k":
            return arguments[number + 1] if number + 1 < len(arguments) else ""
        if argument.startswith("-k"):
            return argument.removeprefix("-k").removeprefix("=")
    return ""


def _of_second_process(options: argparse.Namespace) -> list[str]:
    """The same run with the one file alone; the first process writes the reports."""
    flags = pytest_arguments(argparse.Namespace(**{**vars(options), **_NO_REPORTS}))
    *arguments, folder = _arguments(workers=False)
    arguments += [f"--base-url={options.url}", *flags, *options.pytest_arguments, *_seeded(options)]
    return [*arguments, str(Path(folder, OPENAPI_FILE))]


def _seeded(options: argparse.Namespace) -> list[str]:
    """The arguments that make hypothesis generate the same cases for the same seed."""
    return ["-p", "hypothesispytest", f"--hypothesis-seed={options.seed}"]


class _Watch:
    """Keeps the configuration of the pytest run; its stash holds why the run stopped."""

    config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config

    @property
    def found_in_second_process(self) -> bool:
        """Whether there are results although this process selected no test."""
        return self.config is not None and bool(self.config.stash[plugin.RESULTS].by_id)


def _exit_code(code: int | pytest.ExitCode, watch: _Watch) -> int:
    stop: Stop | None = None if watch.config is None else watch.config.stash.get(plugin.STOPPED, None)
    if stop is not None:
        return _stopped(stop)
    if code == pytest.ExitCode.INTERNAL_ERROR:
        print("sora-mock verify: internal error", file=sys.stderr)
        return EXIT_BROKEN
    if code == pytest.ExitCode.INTERRUPTED:
        print("sora-mock verify: interrupted; the reports hold the results until then", file=sys.stderr)
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and watch.found_in_second_process:
        # a failure there would be TESTS_FAILED
        code = pytest.ExitCode.OK
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        print("sora-mock verify: no rule is selected", file=sys.stderr)
    found: Any = _EXIT_CODES.get(pytest.ExitCode(code), EXIT_BROKEN)
    return int(found)
