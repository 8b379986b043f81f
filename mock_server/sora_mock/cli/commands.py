"""The command line: flags in, exit codes out; every command's work is done elsewhere."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sora_mock.runtime.console import complain
from sora_mock.version import VERSION

if TYPE_CHECKING:
    from sora_mock.config.settings import Settings
    from sora_mock.runtime.log import Log

FINE, USAGE, UNREACHABLE, INTERRUPTED = 0, 2, 5, 130
"""Exit codes (docs/reference.md, Commands)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; `sora-mock` alone, or with flags alone, is `sora-mock serve`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version")):
        given.insert(0, "serve")
    if given[0] == "serve":
        exit_on_signals()
    given, command = _parted(given)
    if given[0] == "run" and not command and not {"-h", "--help"} & set(given):
        complain("run: expected -- and a command, as in: sora-mock run -- pytest")
        return USAGE
    try:
        options = _parser().parse_args(given, argparse.Namespace(command=command))
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _mute()
        return FINE
    except OSError as problem:
        complain(f"cannot write: {problem.strerror or problem}")
        _mute()
        return USAGE


def exit_on_signals() -> None:
    """Ends the process with exit code 0 on SIGINT and SIGTERM, until the server has handlers of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(FINE))


def _parted(given: list[str]) -> tuple[list[str], list[str] | None]:
    """Our arguments, and the command that `run` has behind its `--`; None where there is no `--`."""
    if given[0] != "run" or "--" not in given:
        return given, None
    end = given.index("--")
    return given[:end], given[end + 1 :]


def _mute() -> None:
    """The reader of our output has left, or it cannot be written: nothing more is told there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def __init__(self, **more: Any) -> None:
        # an abbreviation would change its meaning with the next flag
        super().__init__(**{"allow_abbrev": False, **more})

    def error(self, message: str) -> NoReturn:
        """One line, as every mistake of usage gets."""
        complain(message, self.prog)
        self.exit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sora-mock", description="A local server that behaves like an asynchronous video service.")
    parser.add_argument("--version", action="version", version=f"sora-mock {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_run(commands)
    _add_guard(commands)
    wait = commands.add_parser("wait", help="wait until a server is ready")
    wait.add_argument("url", nargs="?", default=os.environ.get("SORA_MOCK_URL") or "http://127.0.0.1:4010")
    wait.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="how long at most (10)")
    wait.set_defaults(run=_wait)
    contract = commands.add_parser("contract", help="print the OpenAPI contract that the server enforces")
    contract.add_argument("--json", action="store_true", help="as JSON instead of YAML")
    contract.set_defaults(run=_contract)
    scenarios = commands.add_parser("scenarios", help="list the built-in scenarios")
    scenarios.set_defaults(run=_scenarios)
    _add_verify(commands)
    _add_drift(commands)
    return parser


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser("serve", help="run the server until SIGINT or SIGTERM (the default)")
    _add_settings(serve)
    serve.set_defaults(run=_serve)


def _add_run(commands: Any) -> None:
    usage = "%(prog)s [-h] [FLAGS OF serve] [--env NAME=TEMPLATE] -- COMMAND ..."
    run = commands.add_parser("run", help="run a command with a server of its own, exit with its code", usage=usage)
    _add_settings(run)
    help = "one more variable for the command; {url} and {api_key} are filled in"
    run.add_argument("--env", metavar="NAME=TEMPLATE", action="append", default=[], help=help)
    run.set_defaults(run=_run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    from sora_mock.config.settings import FLAGS

    parser.add_argument("--config", metavar="FILE", help="sora-mock.toml or a pyproject.toml")
    for flag in FLAGS:
        action: dict[str, Any] = {"action": "store_true"} if flag.value is None else {"metavar": flag.value}
        if flag.name in ("callback-route", "allow-callback"):
            action["action"] = "append"
        parser.add_argument(f"--{flag.name}", help=flag.help, default=argparse.SUPPRESS, **action)


def _add_verify(commands: Any) -> None:
    from sora_mock.verify.flags import add_flags

    verify = commands.add_parser("verify", help="check a mock or the live service against the contract")
    add_flags(verify)
    verify.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    try:
        import httpx  # noqa: F401  # only asked whether it is there
    except ImportError:
        complain("verify needs the extra: pip install 'sora-mock[verify]'")
        return USAGE
    from sora_mock.verify.command import run

    return run(options)


def _add_drift(commands: Any) -> None:
    drift = commands.add_parser("drift", help="where a mock differs from a recording of the live service")
    drift.add_argument("recording", metavar="RECORDING", help="a file that `guard --record` or `verify --record` made")
    drift.add_argument("--target", metavar="URL", help="a running mock (one of its own)")
    drift.set_defaults(run=_drift)


def _drift(options: argparse.Namespace) -> int:
    try:
        import httpx  # noqa: F401  # only asked whether it is there
    except ImportError:
        complain("drift needs the extra: pip install 'sora-mock[verify]'")
        return USAGE
    from sora_mock.drift.command import run

    return run(options)


def _add_guard(commands: Any) -> None:
    guard = commands.add_parser("guard", help="a spending guard in front of the live service, for any client")
    guard.add_argument("--target", required=True, metavar="URL", help="the service, such as https://api.evolink.ai")
    guard.add_argument("--max-credits", required=True, metavar="N", help="the most that may ever be spent")
    guard.add_argument("--port", default="4011", metavar="PORT", help="port on 127.0.0.1, 0 for a free one (4011)")
    guard.add_argument("--api-key-env", default="EVOLINK_API_KEY", metavar="NAME", help="variable that holds the key")
    guard.add_argument("--surprise-credits", metavar="N", help="part of the cap for what should be refused")
    guard.add_argument("--ledger", metavar="FILE", help="what was spent, shared by every run that names it")
    guard.add_argument("--record", metavar="FILE", help="record the exchanges, without keys")
    guard.set_defaults(run=_guard)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds above 0 and up to 86400, got {text!r}")
    return seconds


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    """What was typed, by flag name."""
    given = {name.replace("_", "-"): value for name, value in vars(options).items()}
    return {name: value for name, value in given.items() if name not in ("run", "command", "env") and value is not None}


def _open_log(settings: "Settings") -> "Log":
    from sora_mock.runtime.log import standard_error_log

    return standard_error_log(os.environ, as_json=settings.log_format == "json")


def _run(options: argparse.Namespace) -> int:
    from sora_mock.config.settings import SettingError, load

    if not hasattr(os, "fork"):
        complain("run: this system has no fork; start sora-mock serve and the command beside each other")
        return USAGE
    flags = _flags(options)
    try:
        # a port that a file or variable names is for `serve`, which may run at the same time
        settings = load({"port": "0", **flags}, os.environ, _folder(), warn=complain)
        from sora_mock.cli import run

        variables = [run.Variable(written) for written in options.env]
        log = "log-format" in flags and not settings.quiet
        return run.run(settings, flags, options.command, variables, lambda: _open_log(settings), log=log)
    except SettingError as problem:
        complain(str(problem))
    except OSError as problem:
        complain(f"run: {problem.strerror or problem}")
    return USAGE


def _folder() -> Path:
    """Where a settings file is looked for. Raises SettingError."""
    from sora_mock.config.settings import SettingError

    try:
        return Path.cwd()
    except OSError as problem:
        raise SettingError(f"the current folder cannot be used: {problem.strerror}") from None


def server_settings(arguments: Sequence[str]) -> "Settings":
    """The settings of a `sora-mock serve` with these flags, without warnings. Raises SettingError."""
    from sora_mock.config.settings import load

    flags = _flags(_parser().parse_args(["serve", *arguments]))
    return load(flags, os.environ, _folder(), warn=lambda _: None)


def _serve(options: argparse.Namespace) -> int:
    from sora_mock.config.settings import SettingError, load

    try:
        return serve(load(_flags(options), os.environ, _folder(), warn=complain))
    except SettingError as problem:
        complain(str(problem))
        return USAGE


def serve(settings: "Settings") -> int:
    """Runs a server until SIGINT or SIGTERM; the exit code. Raises SettingError."""
    # the heaviest import comes after the checks of the settings
    from sora_mock import server

    log = _open_log(settings)
    server.serve(settings, _announcer(settings, log), partial(log.watch, requests=not settings.quiet))
    log.close()
    return FINE


def _announcer(settings: "Settings", log: "Log") -> Callable[[str, int], None]:
    """Prints the ready line, the only one on standard output, and beforehand on standard error what is good to know."""

    def announce(url: str, seed: int) -> None:
        from sora_mock.control.access import is_loopback

        if settings.control_token is None and not is_loopback(settings.host):
            log.message("the control API is closed: beyond loopback it needs --control-token")
        if settings.seed is None and not settings.quiet:
            log.message(f"seed {seed} (repeat this run with --seed {seed})", seed=seed)
        as_json = settings.log_format == "json"
        try:
            print(f'{{"event":"ready","url":"{url}"}}' if as_json else f"sora-mock ready on {url}", flush=True)
        except OSError:
            # nobody reads it, which is no reason not to serve
            _mute()

    return announce


def _guard(options: argparse.Namespace) -> int:
    from sora_mock.guard import command as guarding

    def announce(url: str) -> None:
        print(f"sora-mock guard ready on {url}", flush=True)

    try:
        guarding.serve(vars(options), os.environ, announce)
    except guarding.GuardError as problem:
        complain(str(problem))
        return USAGE
    return FINE


def _wait(options: argparse.Namespace) -> int:
    from sora_mock.client.http import wait

    try:
        ready = wait(options.url, options.timeout)
    except ValueError as problem:
        complain(str(problem))
        return USAGE
    if not ready:
        complain(f"{options.url} was not ready within {options.timeout:g} s")
        return UNREACHABLE
    return FINE


def _contract(options: argparse.Namespace) -> int:
    from sora_mock.runtime import package_data as data

    if options.json:
        print(data.contract_text(), end="")
    else:
        import yaml

        print(yaml.safe_dump(data.contract_document(), sort_keys=False, allow_unicode=True, width=110), end="")
    return FINE


def _scenarios(options: argparse.Namespace) -> int:
    from sora_mock.app import built_in_scenarios

    catalogue = built_in_scenarios()
    width = max(map(len, catalogue))
    for name, scenario in catalogue.items():
        print(f"{name:{width}}  {scenario.description}")
    return FINE
