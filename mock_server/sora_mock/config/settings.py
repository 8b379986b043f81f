"""Settings of a server, each declared once: flags, variables, keys of the file and documentation follow from it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from sora_mock.config import readers
from sora_mock.config.written import Written, settings_of
from sora_mock.domain.clock import MAX_SPEED
from sora_mock.domain.moderation import ModerationRule
from sora_mock.domain.task import Behaviour
from sora_mock.domain.token_bucket import RateLimit


class SettingError(Exception):
    """A setting that cannot be used; the text is one line that names it and says what is allowed."""


Text = Annotated[str, Meta(pattern=r"\S")]
Port = Annotated[int, Meta(ge=0, le=65535)]
Seed = Annotated[int, Meta(ge=0, le=10**18 - 1)]
Speed = Annotated[float, Meta(ge=0.001, le=MAX_SPEED)]
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
        Text, Meta(description="address to listen on"), Written(value="ADDRESS", allowed="an address or a name")
    ] = "127.0.0.1"
    port: Annotated[
        Port,
        Meta(description="port to listen on; 0 takes a free one, and so does run without this flag"),
        Written(value="PORT"),
    ] = 4010
    generation_time: Annotated[
        tuple[float, float],
        Meta(description="seconds from the create request to the end of a task; a range gives each a random time"),
        Written(value="SECONDS", read=readers.time_range, allowed="seconds, or a range such as 60..180", default="5"),
    ] = (5.0, 5.0)
    frozen_clock: Annotated[bool, Meta(description="clocks of new accounts do not run"), Written()] = False
    speed: Annotated[
        Speed,
        Meta(description="how fast clocks of new accounts run; at 60 a minute takes a second"),
        Written(value="FACTOR"),
    ] = 1.0
    seed: Annotated[
        Seed | None,
        Meta(description="repeats the ids and the random choices of an earlier run"),
        Written(value="N", default="a random one, printed at the start"),
    ] = None
    credits: Annotated[
        int | None,
        Meta(description="balance of each new account"),
        Written(value="N", read=readers.balance, allowed="credits, or unlimited", default="1000"),
    ] = 1000 * 10_000
    rate_limit: Annotated[
        RateLimit | None,
        Meta(description="requests that each account may send in a second, minute, hour or day"),
        Written(value="N/PERIOD", read=readers.rate, allowed="a rate such as 60/minute, or none", default="none"),
    ] = None
    scenario: Annotated[
        Text,
        Meta(description="default scenario, for tasks that get no scenario in another way"),
        Written(value="NAME", allowed="the name of a scenario"),
    ] = "completed"
    failure_rate: Annotated[
        Fraction, Meta(description="fraction of tasks that fail; the seed decides which"), Written(value="FRACTION")
    ] = 0.0
    moderation_rate: Annotated[
        Fraction,
        Meta(description="fraction of tasks that fail in moderation; the seed decides which"),
        Written(value="FRACTION"),
    ] = 0.0
    callback_route: Annotated[
        Mapping[str, str],
        Meta(description="sends callbacks for this origin to this URL instead; may be repeated"),
        Written(value="ORIGIN=URL", read=readers.callback_routes, allowed="ORIGIN=URL", default="none", repeats=True),
    ] = {}
    allow_callback: Annotated[
        tuple[str, ...],
        Meta(description="accepts callbacks for exactly this origin, even at a private address; may be repeated"),
        Written(value="ORIGIN", read=readers.origins, allowed="an origin", default="none", repeats=True),
    ] = ()
    callback_ca: Annotated[
        str | None,
        Meta(description="PEM certificates that callbacks trust, besides those of the system"),
        Written(value="FILE", read=readers.certificates, allowed="a file of PEM certificates", default="none"),
    ] = None
    control_token: Annotated[
        Text | None,
        Meta(
            description="token that control requests must send as X-Mock-Token; "
            "without one, a server that listens beyond loopback rejects them",
        ),
        Written(value="TOKEN", allowed="a text that is not empty", default="none"),
    ] = None
    public_url: Annotated[
        str | None,
        Meta(description="first part of result links"),
        Written(value="URL", read=readers.public_url, allowed="an http(s) URL", default="the Host of the request"),
    ] = None
    cors: Annotated[
        str | None,
        Meta(description="origin of a web page that may use the server from a browser"),
        Written(value="ORIGIN", read=readers.origin, allowed="an origin", default="none"),
    ] = None
    mock_headers: Annotated[
        bool,
        Meta(description="leaves the header X-Mock-Scenario out of responses"),
        Written(key="no-mock-headers", read=readers.inverted, allowed="true or false"),
    ] = True
    log_format: Annotated[
        Literal["text", "json"], Meta(description="format of the log and of the ready line"), Written(value="FORMAT")
    ] = "text"
    quiet: Annotated[bool, Meta(description="prints only the ready line and errors"), Written()] = False
    keys: Annotated[
        tuple[str, ...] | None,
        Meta(description="the only API keys that are accepted"),
        Written(
            read=readers.keys,
            allowed="keys that begin with sk-",
            default="each key that begins with sk-",
            file_only=True,
        ),
    ] = None
    prices: Annotated[
        Mapping[int, int],
        Meta(description="price of a video, by its seconds"),
        Written(read=readers.prices, allowed="credits", default="those of the model: docs/money.md", file_only=True),
    ] = {}
    behaviour: Annotated[
        Behaviour,
        Meta(description="what the server does where the sources say nothing"),
        Written(key="service", read=readers.behaviour, allowed="a table", default="docs/fidelity.md", file_only=True),
    ] = Behaviour()
    scenarios: Annotated[
        Mapping[str, Mapping[str, Any]],
        Meta(description="your own scenarios: docs/scenarios.md"),
        Written(read=readers.scenarios, allowed="tables by name", default="none", file_only=True),
    ] = {}
    moderation_rules: Annotated[
        tuple[ModerationRule, ...],
        Meta(description="your own moderation rules: docs/scenarios.md"),
        Written(
            key="moderation.rules", read=readers.moderation_rules, allowed="tables", default="none", file_only=True
        ),
    ] = ()
    strict_moderation: Annotated[
        bool,
        Meta(description="whether the built-in moderation rules apply after your own"),
        Written(key="moderation.strict", default="false", file_only=True),
    ] = False


SETTINGS: Final = settings_of(Settings)
"""Every setting, in the order of `--help` and of the documentation."""

FLAGS: Final = tuple(each for each in SETTINGS if not each.written.file_only)
"""Those that are also flags and variables; the others are keys of the file alone."""
