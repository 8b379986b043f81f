"""Readers of single settings, the file, and which of flag, environment, file and default is the strongest."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sora_mock.config.loading import load
from sora_mock.config.options import with_options
from sora_mock.config.settings import FLAGS, SettingError, Settings
from sora_mock.domain.models import DEFAULT_MODEL
from sora_mock.domain.token_bucket import parse_rate_limit
from sora_mock.service.composition import models

Loader = Callable[..., Settings]


def effective_prices(settings: Settings) -> Mapping[int, int]:
    """Units by seconds, as the server charges them."""
    return models(settings.prices)[DEFAULT_MODEL].prices


@pytest.fixture
def warnings() -> list[str]:
    """What `load` warned of."""
    return []


@pytest.fixture
def read(tmp_path: Path, warnings: list[str]) -> Loader:
    """`load` in an empty folder, with the file's text, the environment and the flags of the test."""

    def load_here(
        flags: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        file: str | None = None,
        name: str = "sora-mock.toml",
    ) -> Settings:
        if file is not None:
            (tmp_path / name).write_text(file, encoding="utf-8")
        return load(flags or {}, environment or {}, tmp_path, warnings.append)

    return load_here


# --- defaults ---


def test_the_defaults_are_the_documented_ones(read: Loader) -> None:
    found = read()
    assert found == Settings()
    assert (found.host, found.port) == ("127.0.0.1", 4010)
    assert found.generation_time == (5, 5)
    assert (found.frozen_clock, found.speed, found.seed) == (False, 1, None)
    assert found.credits == 1000_0000
    assert (found.rate_limit, found.scenario) == (None, "completed")
    assert (found.control_token, found.public_url, found.cors) == (None, None, None)
    assert (found.mock_headers, found.log_format, found.quiet) == (True, "text", False)
    assert found.history_size == 512 * 2**20
    assert found.keys is None
    assert effective_prices(found) == {10: 5_7600, 15: 8_6400}


# --- readers ---


@pytest.mark.parametrize(
    ("name", "written", "field", "value"),
    [
        ("host", "0.0.0.0", "host", "0.0.0.0"),
        ("port", "0", "port", 0),
        ("port", "65535", "port", 65535),
        ("generation-time", "5", "generation_time", (5, 5)),
        ("generation-time", "0", "generation_time", (0, 0)),
        ("generation-time", "0.5", "generation_time", (0.5, 0.5)),
        ("generation-time", "60..180", "generation_time", (60, 180)),
        ("generation-time", "60..60", "generation_time", (60, 60)),
        ("generation-time", "0.5..1.5", "generation_time", (0.5, 1.5)),
        ("frozen-clock", "true", "frozen_clock", True),
        ("frozen-clock", "0", "frozen_clock", False),
        ("speed", "60", "speed", 60),
        ("speed", "0.5", "speed", 0.5),
        ("seed", "0", "seed", 0),
        ("seed", "123456789", "seed", 123456789),
        ("credits", "10", "credits", 10_0000),
        ("credits", "0", "credits", 0),
        ("credits", "5.7601", "credits", 5_7601),
        ("credits", "unlimited", "credits", None),
        ("rate-limit", "60/minute", "rate_limit", parse_rate_limit("60/minute")),
        ("scenario", "completed", "scenario", "completed"),
        ("history-size", "1MiB", "history_size", 2**20),
        ("history-size", "1TiB", "history_size", 2**40),
        ("history-size", "2GiB", "history_size", 2**31),
        ("history-size", "2048KiB", "history_size", 2**21),
        ("history-size", "1048576", "history_size", 2**20),
        ("control-token", "secret", "control_token", "secret"),
        ("public-url", "http://localhost:4010", "public_url", "http://localhost:4010"),
        ("public-url", "https://example.com/below/", "public_url", "https://example.com/below"),
        ("cors", "http://localhost:3000", "cors", "http://localhost:3000"),
        ("no-mock-headers", "1", "mock_headers", False),
        ("no-mock-headers", "false", "mock_headers", True),
        ("log-format", "json", "log_format", "json"),
        ("quiet", "yes", "quiet", True),
    ],
)
def test_a_value_is_read_the_same_from_flag_variable_and_file(
    read: Loader, name: str, written: str, field: str, value: Any
) -> None:
    variable = "SORA_MOCK_" + name.upper().replace("-", "_")
    assert getattr(read(flags={name: written}), field) == value
    assert getattr(read(environment={variable: written}), field) == value
    if name not in ("frozen-clock", "quiet", "no-mock-headers"):
        assert getattr(read(file=f'{name} = "{written}"'), field) == value


BAD = [
    ("host", ""),
    ("host", "  "),
    ("port", "-1"),
    ("port", "65536"),
    ("port", "http"),
    ("port", "4010.5"),
    ("port", ""),
    ("port", "99999999999999999999999"),
    ("generation-time", "-1"),
    ("generation-time", "soon"),
    ("generation-time", "180..60"),
    ("generation-time", "60.."),
    ("generation-time", "..60"),
    ("generation-time", "1..2..3"),
    ("generation-time", "nan"),
    ("generation-time", "inf"),
    ("generation-time", "1e300"),
    ("frozen-clock", "maybe"),
    ("speed", "0"),
    ("speed", "-1"),
    ("speed", "nan"),
    ("speed", "inf"),
    ("speed", "fast"),
    ("seed", "-1"),
    ("seed", "1.5"),
    ("seed", "x"),
    ("credits", "-1"),
    ("credits", "nan"),
    ("credits", "inf"),
    ("credits", "many"),
    ("credits", "0.00001"),
    ("credits", "1e300"),
    ("credits", ""),
    ("rate-limit", "60"),
    ("rate-limit", "0/minute"),
    ("rate-limit", "-5/minute"),
    ("rate-limit", "60/fortnight"),
    ("rate-limit", "1.5/minute"),
    ("rate-limit", ""),
    ("scenario", ""),
    ("history-size", ""),
    ("history-size", "0"),
    ("history-size", "1MiB-"),
    ("history-size", "1048575"),
    ("history-size", "1023KiB"),
    ("history-size", "1025GiB"),
    ("history-size", "-512MiB"),
    ("history-size", "512MB"),
    ("history-size", "512 mib"),
    ("history-size", "0.5GiB"),
    ("history-size", "much"),
    ("history-size", "9" * 30),
    ("control-token", ""),
    ("public-url", "localhost:4010"),
    ("public-url", "ftp://localhost"),
    ("public-url", "http://"),
    ("public-url", "http://["),
    ("public-url", "http://localhost?x=1"),
    ("public-url", "http://localhost#x"),
    ("public-url", "http://localhost:99999"),
    ("public-url", "http://localhost:port"),
    ("public-url", "http://a b"),
    ("cors", "*"),
    ("cors", "localhost:3000"),
    ("cors", "http://localhost:3000/path"),
    ("cors", "http://localhost:99999"),
    ("cors", "http://a b"),
    ("log-format", "xml"),
    ("log-format", "JSON"),
    ("quiet", "perhaps"),
]


@pytest.mark.parametrize(("name", "written"), BAD)
def test_a_bad_value_of_a_flag_is_named_in_one_line(read: Loader, name: str, written: str) -> None:
    with pytest.raises(SettingError) as problem:
        read(flags={name: written})
    assert f"--{name}" in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(("name", "written"), [(name, written) for name, written in BAD if written])
def test_a_bad_value_of_a_variable_is_named_in_one_line(read: Loader, name: str, written: str) -> None:
    variable = "SORA_MOCK_" + name.upper().replace("-", "_")
    with pytest.raises(SettingError) as problem:
        read(environment={variable: written})
    assert variable in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "file",
    [
        "port = true",
        "port = 4010.5",
        "port = []",
        "port = {a = 1}",
        "host = 5",
        "host = []",
        "credits = true",
        "credits = []",
        "credits = {}",
        "speed = true",
        "speed = nan",
        "speed = inf",
        "speed = []",
        "generation-time = true",
        "generation-time = []",
        "frozen-clock = 5",
        "frozen-clock = []",
        "rate-limit = 60",
        "history-size = true",
        "history-size = []",
        "history-size = 5e8",
        "history-size = 1000",
        "rate-limit = []",
        "log-format = []",
        "log-format = {}",
        "public-url = 5",
        "cors = []",
        "seed = 1.5",
        "quiet = 1979-05-27",
        "scenario = false",
    ],
)
def test_a_value_of_another_type_in_the_file_is_named(read: Loader, file: str) -> None:
    with pytest.raises(SettingError) as problem:
        read(file=file)
    assert file.split()[0] in str(problem.value)
    assert "sora-mock.toml" in str(problem.value)


def test_a_huge_bad_value_does_not_flood_the_line(read: Loader) -> None:
    with pytest.raises(SettingError) as problem:
        read(flags={"port": "9" * 100_000})
    assert len(str(problem.value)) < 300


# --- the file ---


def test_a_file_gives_numbers_as_numbers(read: Loader) -> None:
    found = read(file="port = 5000\ngeneration-time = 7\ncredits = 5.76\nspeed = 2\nfrozen-clock = true\nseed = 3")
    assert (found.port, found.generation_time, found.credits) == (5000, (7, 7), 5_7600)
    assert (found.speed, found.frozen_clock, found.seed) == (2, True, 3)


def test_underscores_in_the_file_are_dashes(read: Loader) -> None:
    assert read(file='rate_limit = "5/hour"').rate_limit == parse_rate_limit("5/hour")


@pytest.mark.parametrize(
    "file", ["prot = 5000", "colour = 'red'", "[serve]\nport = 5", "config = 'x'", "[keys]\na = 1"]
)
def test_an_unknown_or_wrong_name_in_the_file_is_refused_and_named(read: Loader, file: str) -> None:
    with pytest.raises(SettingError) as problem:
        read(file=file)
    assert file.split("\n")[0].split()[0].strip("[]") in str(problem.value)


def test_a_near_name_is_suggested(read: Loader) -> None:
    with pytest.raises(SettingError, match="did you mean port"):
        read(file="prot = 5000")


@pytest.mark.parametrize("file", ["port = ", "port 5000", "port = 1\nport = 2", "\x00"])
def test_a_file_that_is_no_toml_is_refused_and_named(read: Loader, file: str) -> None:
    with pytest.raises(SettingError, match=r"sora-mock\.toml") as problem:
        read(file=file)
    assert "\n" not in str(problem.value)


def test_a_file_that_is_not_utf8_is_refused_and_named(read: Loader, tmp_path: Path) -> None:
    (tmp_path / "sora-mock.toml").write_bytes(b"host = '\xff'")
    with pytest.raises(SettingError, match=r"sora-mock\.toml"):
        read()


def test_a_named_file_that_is_absent_is_refused_and_named(read: Loader, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="absent"):
        read(flags={"config": str(tmp_path / "absent.toml")})


def test_a_named_file_that_is_a_folder_is_refused_and_named(read: Loader, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=tmp_path.name):
        read(flags={"config": str(tmp_path)})


def test_a_named_file_replaces_the_one_in_the_folder(read: Loader, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 7000")
    found = read(flags={"config": str(tmp_path / "other.toml")}, file="port = 5000\nseed = 1")
    assert (found.port, found.seed) == (7000, None)


def test_the_environment_can_name_the_file(read: Loader, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 7000")
    assert read(environment={"SORA_MOCK_CONFIG": str(tmp_path / "other.toml")}).port == 7000


def test_pyproject_has_a_section_for_it(read: Loader) -> None:
    file = "[project]\nname = 'x'\n[tool.other]\nport = 1\n[tool.sora-mock]\nport = 5000"
    assert read(file=file, name="pyproject.toml").port == 5000


def test_a_pyproject_without_the_section_says_nothing(read: Loader) -> None:
    assert read(file="[project]\nname = 'x'", name="pyproject.toml") == Settings()


def test_sora_mock_toml_comes_before_pyproject(read: Loader) -> None:
    read(file="[tool.sora-mock]\nport = 5000", name="pyproject.toml")
    assert read(file="port = 6000").port == 6000


def test_a_pyproject_can_be_named(read: Loader, tmp_path: Path) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[tool.sora-mock]\nport = 5000")
    assert read(flags={"config": str(folder / "pyproject.toml")}).port == 5000


@pytest.mark.parametrize(
    "file", ["[tool]\nsora-mock = 5", "[tool]\nsora-mock = 'x'", "[tool]\nsora-mock = [1]", "tool = 5"]
)
def test_a_section_that_is_no_table_is_refused_and_named(read: Loader, file: str) -> None:
    with pytest.raises(SettingError, match="pyproject"):
        read(file=file, name="pyproject.toml")


# --- keys, prices, service ---


def test_keys_narrow_what_is_accepted(read: Loader) -> None:
    assert read(file='keys = ["sk-a", "sk-b"]').keys == ("sk-a", "sk-b")


@pytest.mark.parametrize("value", ['"sk-a"', "5", '["pk-a"]', "[5]", "true", '[["sk-a"]]'])
def test_bad_keys_are_refused(read: Loader, value: str) -> None:
    with pytest.raises(SettingError, match="keys"):
        read(file=f"keys = {value}")


def test_prices_can_be_changed_one_by_one(read: Loader) -> None:
    assert effective_prices(read(file="[prices]\n10 = 6")) == {10: 6_0000, 15: 8_6400}


@pytest.mark.parametrize("line", ["12 = 5", "10 = -1", "10 = 'x'", "10 = true", "10 = []", "10 = 0.00001", "10 = nan"])
def test_bad_prices_are_refused(read: Loader, line: str) -> None:
    with pytest.raises(SettingError, match="prices"):
        read(file=f"[prices]\n{line}")


def test_the_service_table_decides_what_the_sources_leave_open(read: Loader) -> None:
    file = "[service]\nexpired_link_status = 410\ncancelled-status = 'cancelled'\nretry_after = false"
    found = read(file=file).behaviour
    assert (found.expired_link_status, found.cancelled_status, found.retry_after) == (410, "cancelled", False)


@pytest.mark.parametrize("route", ["https://hooks.example.com", ["https://hooks.example.com"]])
def test_a_route_without_a_target_says_what_one_looks_like(route: Any) -> None:
    with pytest.raises(SettingError, match=r"expected ORIGIN=URL, such as https://hooks\.example\.com=http://127\."):
        with_options(Settings(), {"callback_route": route})


def test_retry_after_may_be_a_date(read: Loader) -> None:
    assert read(file="[service]\nretry_after = 'date'").behaviour.retry_after == "date"


@pytest.mark.parametrize(
    "line",
    [
        "colour = 5",
        "expired_link_status = 200",
        "expired_link_status = 'x'",
        "cancelled_status = 'gone'",
        "cancelled_status = []",
        "queue_share = 2",
        "queue_share = 'x'",
        "queue_share = nan",
        "retry_after = 'maybe'",
        "retry_after = 'Date'",
    ],
)
def test_a_bad_service_setting_is_named(read: Loader, line: str) -> None:
    with pytest.raises(SettingError) as problem:
        read(file=f"[service]\n{line}")
    assert line.split()[0] in str(problem.value)


@pytest.mark.parametrize("line", ["prices = 5", "service = 'x'", "prices = [1]"])
def test_a_table_that_is_none_is_refused(read: Loader, line: str) -> None:
    with pytest.raises(SettingError, match=line.split()[0]):
        read(file=line)


# --- precedence ---


def test_the_flag_is_stronger_than_the_variable_than_the_file_than_the_default(read: Loader) -> None:
    file, environment, flags = "port = 1", {"SORA_MOCK_PORT": "2"}, {"port": "3"}
    assert read(flags, environment, file).port == 3
    assert read({}, environment, file).port == 2
    assert read({}, {}, file).port == 1


def test_each_setting_is_weighed_on_its_own(read: Loader) -> None:
    found = read({"port": "3"}, {"SORA_MOCK_SPEED": "2"}, "port = 1\nspeed = 1\nseed = 9")
    assert (found.port, found.speed, found.seed) == (3, 2, 9)


def test_a_variable_can_switch_off_what_the_file_switches_on(read: Loader) -> None:
    assert read({}, {"SORA_MOCK_FROZEN_CLOCK": "false"}, "frozen-clock = true").frozen_clock is False
    assert read({}, {"SORA_MOCK_NO_MOCK_HEADERS": "false"}, "no-mock-headers = true").mock_headers is True


def test_a_bad_value_in_the_file_is_refused_even_where_a_flag_overrides_it(read: Loader) -> None:
    with pytest.raises(SettingError, match="port"):
        read({"port": "3"}, {}, "port = 'x'")


# --- variables ---


def test_an_unknown_variable_is_a_warning_that_names_it(read: Loader, warnings: list[str]) -> None:
    assert read(environment={"SORA_MOCK_PROT": "1"}) == Settings()
    [warning] = warnings
    assert "SORA_MOCK_PROT" in warning


def test_known_variables_are_no_warning(read: Loader, warnings: list[str]) -> None:
    read(
        environment={"SORA_MOCK_URL": "http://127.0.0.1:4010", "SORA_MOCK_PORT": "1", "OTHER": "x", "SORA_MOCKING": "x"}
    )
    assert warnings == []


def test_every_flag_has_a_variable(read: Loader, warnings: list[str]) -> None:
    for each in FLAGS:
        with pytest.raises(SettingError, match="SORA_MOCK_"):
            read(environment={each.variable: " "})
    assert warnings == []


def test_an_empty_variable_is_not_set(read: Loader) -> None:
    """Compose and GitLab pass on a variable that is not set as an empty one."""
    empty = {each.variable: "" for each in FLAGS}
    assert read(environment={**empty, "SORA_MOCK_CONFIG": ""}) == Settings()
    assert read(environment=empty, file="port = 5000").port == 5000
