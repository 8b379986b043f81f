"""Arguments of the command line: names, suggestions, help, version, completion by a shell, and what `main` returns."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from sora_mock.cli import main
from sora_mock.cli.commands import COMMANDS, parsed
from sora_mock.cli.serve import given_flags, load_settings
from sora_mock.version import VERSION
from tests.cli.processes import COMMAND, DEADLINE, environment

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--prot", "5"], "sora-mock serve: unknown flag --prot; did you mean --port or --host?"),
        (["serve", "--log-formt", "json"], "sora-mock serve: unknown flag --log-formt; did you mean --log-format?"),
        (["wait", "--timout", "5"], "sora-mock wait: unknown flag --timout; did you mean --timeout?"),
        (
            ["verify", "--max-credit", "5"],
            "sora-mock verify: unknown flag --max-credit; did you mean --max-credits or --surprise-credits?",
        ),
        (["run", "--emv", "A=b", "--", "true"], "sora-mock run: unknown flag --emv; did you mean --env?"),
        (["contract", "--yaml"], "sora-mock contract: unknown flag --yaml"),
        (["srve"], "sora-mock: unknown command 'srve'; did you mean serve?"),
        (["help", "wiat"], "sora-mock: unknown command 'wiat'; did you mean wait?"),
        (["dance"], "sora-mock: unknown command 'dance'"),
        (["serve", "now"], "sora-mock serve: got unexpected extra argument (now)"),
        (["run", "true"], "sora-mock run: expected -- and a command, as in: sora-mock run -- pytest"),
        (["run", "--"], "sora-mock run: expected -- and a command, as in: sora-mock run -- pytest"),
        (["run", "x", "--", "true"], "sora-mock run: got unexpected extra argument (x)"),
        (["--port", "--quiet"], "sora-mock serve: --port needs a value; if --quiet is the value, write --port=--quiet"),
        (["--port=x"], "sora-mock: bad value 'x' for --port: expected a whole number from 0 to 65535"),
        (["guard"], "sora-mock guard: missing option '--target'"),
        (["drift"], "sora-mock drift: missing argument 'RECORDING'"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_2(arguments: list[str], line: str, capsys: Captured) -> None:
    former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert main(arguments) == 2
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), former, strict=True):
            signal.signal(number, handler)
    assert capsys.readouterr() == ("", f"{line}\n")


@pytest.mark.parametrize("arguments", [["--por", "0"], ["--quie"], ["run", "--en", "A=b", "--", "true"]], ids=" ".join)
def test_no_flag_can_be_abbreviated(arguments: list[str]) -> None:
    with pytest.raises(click.NoSuchOption):
        parsed(arguments)


@pytest.mark.parametrize("arguments", [["version"], ["-V"], ["--version"]], ids=" ".join)
def test_the_version(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr() == (f"sora-mock {VERSION}\n", "")


@pytest.mark.parametrize("arguments", [["help"], ["-h"], ["--help"]], ids=" ".join)
def test_help_lists_all_commands_in_full(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert [name for name in COMMANDS.commands if f"\n  {name} " not in printed] == []
    assert "..." not in printed


@pytest.mark.parametrize("name", COMMANDS.commands)
def test_help_of_a_command_is_the_same_in_three_ways(name: str, capsys: Captured) -> None:
    printed = []
    for arguments in (["help", name], [name, "--help"], [name, "-h"], ["--help", name]):
        assert main(arguments) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith(f"Usage: sora-mock {name}")
    assert printed == printed[:1] * 4


# --- what reaches the settings ---


def test_flags_are_texts_by_name() -> None:
    arguments = ["--credits", "5", "--generation-time=60..180", "--quiet", "--allow-callback", "http://a.example"]
    assert given_flags(parsed(arguments).params) == {
        "credits": "5",
        "generation-time": "60..180",
        "quiet": True,
        "allow-callback": ["http://a.example"],
    }


def test_a_flag_that_repeats_is_a_list_and_of_another_the_last_counts() -> None:
    arguments = ["--allow-callback", "http://a", "--seed", "1", "--allow-callback", "http://b", "--seed", "2"]
    assert given_flags(parsed(arguments).params) == {"allow-callback": ["http://a", "http://b"], "seed": "2"}


@pytest.mark.parametrize("value", ["", "-1", "0", "*"])
def test_a_value_stays_as_it_was_typed(value: str) -> None:
    assert given_flags(parsed(["--scenario", value]).params) == {"scenario": value}


def test_the_command_of_run_is_everything_behind_the_first_dashes() -> None:
    parameters = parsed(["run", "--seed", "1", "--env", "A={url}", "--", "a", "--port", "5", "--", "-h"]).params
    assert parameters["command"] == ["a", "--port", "5", "--", "-h"]
    assert parameters["env"] == ("A={url}",)
    assert given_flags(parameters) == {"seed": "1"}


# --- the token of a server that is started with these flags ---


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SORA_MOCK_CONTROL_TOKEN", raising=False)
    return tmp_path


def token(*flags: str) -> str | None:
    return load_settings(given_flags(parsed(["serve", *flags]).params)).control_token


def test_the_token_is_that_of_the_flag_the_variable_or_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token() is None
    (here / "sora-mock.toml").write_text('control-token = "file"')
    assert token("--port", "0") == "file"
    monkeypatch.setenv("SORA_MOCK_CONTROL_TOKEN", "variable")
    assert token() == "variable"
    assert token("--control-token", "flag") == "flag"


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restores the signal handlers that `serve` sets."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    former = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, former, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("here", "handlers")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--prot", "1"], "unknown flag --prot"), (["--port", "x"], "bad value 'x'"), (["x"], "unexpected")],
)
def test_flags_that_cannot_be_used_have_no_token(capsys: Captured, arguments: list[str], said: str) -> None:
    assert main(["serve", *arguments], is_child=True) == 2
    printed = capsys.readouterr()
    assert (printed.out, said in printed.err) == ("", True)


@pytest.mark.usefixtures("here", "handlers")
def test_flags_that_ask_for_help_end_the_process_once_it_is_printed(capsys: Captured) -> None:
    assert main(["serve", "--help"], is_child=True) == 0
    assert capsys.readouterr().out.startswith("Usage: sora-mock serve")


# --- a process ---


def test_ctrl_c_is_130_and_prints_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        waiting = subprocess.Popen(
            # a parent may ignore SIGINT, and its children inherit that
            [sys.executable, "-c", RESTORED, "wait", address, "--timeout", "60"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            silent.settimeout(DEADLINE)
            silent.accept()[0].close()
            waiting.send_signal(signal.SIGINT)
            assert waiting.communicate(timeout=DEADLINE) == (b"", b"")
            assert waiting.returncode == 130
        finally:
            waiting.kill()
            waiting.communicate()


RESTORED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from sora_mock.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("arguments", [["--help"], ["help", "serve"], ["serve", "--help"], ["version"], ["scenarios"]])
def test_a_reader_who_left_is_no_mistake_and_a_full_disk_is(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed, open("/dev/full", "w") as full:
        for output, code, lines in ((closed, 0, 0), (full, 2, 1)):
            done = subprocess.run(
                [*COMMAND, *arguments],
                env=environment(PYTHONUNBUFFERED="1"),
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            assert (done.returncode, len(done.stderr.splitlines())) == (code, lines), done.stderr


# --- completion ---


@pytest.mark.parametrize(
    ("typed_words", "completions"),
    [
        ("sora-mock wa", ["wait"]),
        ("sora-mock help ver", ["verify", "version"]),
        ("sora-mock --log", ["--log-format"]),
        ("sora-mock serve --callback", ["--callback-route", "--callback-ca"]),
        ("sora-mock run --e", ["--env"]),
        ("sora-mock verify --max", ["--max-credits", "--max-examples"]),
    ],
)
def test_a_shell_completes_commands_and_flags(typed_words: str, completions: list[str]) -> None:
    assert complete(typed_words) == completions


def complete(words: str) -> list[str]:
    """What bash would offer after these words."""
    more: dict[str, Any] = {"_SORA_MOCK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": words.count(" ")}
    done = subprocess.run(
        COMMAND,
        env=environment(**{name: str(value) for name, value in more.items()}),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_bash_accepts_the_line_of_the_reference(tmp_path: Path) -> None:
    (tmp_path / "sora-mock").write_text(f'#!/bin/sh\nexec {sys.executable} -m sora_mock "$@"\n')
    (tmp_path / "sora-mock").chmod(0o755)
    reference = (Path(__file__).resolve().parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    (line,) = [each for each in reference.split("`") if each.startswith("eval ")]
    pressed = "COMP_WORDS=(sora-mock sc); COMP_CWORD=1; _sora_mock_completion sora-mock sc sora-mock"
    script = f'set -e; {line}; complete -p sora-mock; {pressed}; echo "$COMPREPLY"'
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment(PATH=f"{tmp_path}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "scenarios"
