"""Settings of a server, each declared once: flags, variables, keys of the file and documentation follow from it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from sora_mock.config import readers
from sora_mock.config.setting import Setting, settings_of
from sora_mock.domain.clock import MAX_SPEED
from sora_mock.domain.moderation import ModerationRule
from sora_mock.domain.task import Behaviour
from sora_mock.domain.token_bucket import RateLimit


class SettingError(Exception):
    """A setting that cannot be used; the text is one line that names it and says what is allowed."""


Text = Annotated[str, Meta(pattern=r"\S")]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a server. Amounts are units of 1/10,000 credit, times are seconds.

    generation_time: shortest and longest time of a task.
    seed: None lets the server choose one at random.
    credits: None is unlimited.
    rate_limit, control_token, public_url, cors, callback_ca: None is the default that users read in the reference.
    keys: None accepts every key that begins with `sk-`.
    prices: by seconds of the video; empty for those of the model's table.
    scenarios: as the user wrote them.
    """

    host: Annotated[
        Text, Meta(description="address to listen on"), Setting(value="ADDRESS", words="an address or a name")
    ] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)],
        Meta(description="port to listen on; 0 takes a free one, and so does run without this flag"),
        Setting(value="PORT"),
    ] = 4010
    generation_time: Annotated[
        tuple[float, float],
        Meta(description="seconds from the create request to the end of a task; a range gives each a random time"),
        Setting(value="SECONDS", read=readers.time_range, words="seconds, or a range such as 60..180", default="5"),
    ] = (5.0, 5.0)
    frozen_clock: Annotated[bool, Meta(description="clocks of new accounts do not run"), Setting()] = False
    speed: Annotated[
        Annotated[float, Meta(ge=0.001, le=MAX_SPEED)],
        Meta(description="how fast clocks of new accounts run; at 60 a minute takes a second"),
        Setting(value="FACTOR"),
    ] = 1.0
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=10**18 - 1)] | None,
        Meta(description="repeats the ids and the random choices of an earlier run"),
        Setting(value="N", default="a random one, printed at the start"),
    ] = None
    credits: Annotated[
        int | None,
        Meta(description="balance of each new account"),
        Setting(value="N", read=readers.balance, words="credits, or unlimited", default="1000"),
    ] = 1000 * 10_000
    rate_limit: Annotated[
        RateLimit | None,
        Meta(description="requests that each account may send in a second, minute, hour or day"),
        Setting(value="N/PERIOD", read=readers.rate, words="a rate such as 60/minute, or none", default="none"),
    ] = None
    scenario: Annotated[
        Text,
        Meta(description="default scenario, for tasks that get no scenario in another way"),
        Setting(value="NAME", words="the name of a scenario"),
    ] = "completed"
    failure_rate: Annotated[
        Fraction, Meta(description="fraction of tasks that fail; the seed decides which"), Setting(value="FRACTION")
    ] = 0.0
    moderation_rate: Annotated[
        Fraction,
        Meta(description="fraction of tasks that fail in moderation; the seed decides which"),
        Setting(value="FRACTION"),
    ] = 0.0
    history_size: Annotated[
        Annotated[int, Meta(ge=readers.MIN_HISTORY_SIZE, le=readers.MAX_HISTORY_SIZE)],
        Meta(
            description="memory for the history of all accounts: journals, inboxes, deliveries and responses to an "
            "Idempotency-Key; beyond it the largest account forgets its oldest entries"
        ),
        Setting(value="SIZE", read=readers.size, words="a size from 1MiB to 1TiB, such as 512MiB", default="512MiB"),
    ] = 512 * 2**20
    callback_route: Annotated[
        Mapping[str, str],
        Meta(description="sends callbacks for this origin to this URL instead; may be repeated"),
        Setting(value="ORIGIN=URL", read=readers.callback_routes, words="ORIGIN=URL", default="none", repeats=True),
    ] = {}
    allow_callback: Annotated[
        tuple[str, ...],
        Meta(description="accepts callbacks for exactly this origin, even at a private address; may be repeated"),
        Setting(value="ORIGIN", read=readers.origins, words="an origin", default="none", repeats=True),
    ] = ()
    callback_ca: Annotated[
        str | None,
        Meta(description="PEM certificates that callbacks trust, besides those of the system"),
        Setting(value="FILE", read=readers.certificates, words="a file of PEM certificates", default="none"),
    ] = None
    control_token: Annotated[
        Text | None,
        Meta(
            description="token that control requests must send as X-Mock-Token; "
            "without one, a server that listens beyond loopback rejects them",
        ),
        Setting(value="TOKEN", words="a text that is not empty", default="none"),
    ] = None
    public_url: Annotated[
        str | None,
        Meta(description="first part of result links"),
        Setting(value="URL", read=readers.public_url, words="an http(s) URL", default="the Host of the request"),
    ] = None
    cors: Annotated[
        str | None,
        Meta(description="origin of a web page that may use the server from a browser"),
        Setting(value="ORIGIN", read=readers.origin, words="an origin", default="none"),
    ] = None
    mock_headers: Annotated[
        bool,
        Meta(description="leaves the header X-Mock-Scenario out of responses"),
        Setting(key="no-mock-headers", read=readers.inverted, words="true or false"),
    ] = True
    log_format: Annotated[
        Literal["text", "json"], Meta(description="format of the log and of the ready line"), Setting(value="FORMAT")
    ] = "text"
    quiet: Annotated[bool, Meta(description="prints only the ready line and errors"), Setting()] = False
    keys: Annotated[
        tuple[str, ...] | None,
        Meta(description="the only API keys that are accepted"),
        Setting(
            read=readers.keys,
            words="keys that begin with sk-",
            default="each key that begins with sk-",
            file_only=True,
        ),
    ] = None
    prices: Annotated[
        Mapping[int, int],
        Meta(description="price of a video, by its seconds"),
        Setting(read=readers.prices, words="credits", default="those of the model: docs/money.md", file_only=True),
    ] = {}
    behaviour: Annotated[
        Behaviour,
        Meta(description="what the server does where the sources say nothing"),
        Setting(key="service", read=readers.behaviour, words="a table", default="docs/fidelity.md", file_only=True),
    ] = Behaviour()
    scenarios: Annotated[
        Mapping[str, Mapping[str, Any]],
        Meta(description="your own scenarios: docs/scenarios.md"),
        Setting(read=readers.scenarios, words="tables by name", default="none", file_only=True),
    ] = {}
    moderation_rules: Annotated[
        tuple[ModerationRule, ...],
        Meta(description="your own moderation rules: docs/scenarios.md"),
        Setting(key="moderation.rules", read=readers.moderation_rules, words="tables", default="none", file_only=True),
    ] = ()
    strict_moderation: Annotated[
        bool,
        Meta(description="whether the built-in moderation rules apply after your own"),
        Setting(key="moderation.strict", default="false", file_only=True),
    ] = False


SETTINGS: Final = settings_of(Settings)
"""Every setting, in the order of `--help` and of the documentation."""

FLAGS: Final = tuple(each for each in SETTINGS if not each.file_only)
"""Those that are also flags and variables; the others are keys of the file alone."""
