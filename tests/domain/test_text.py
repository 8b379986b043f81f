"""API keys and passwords are redacted from every text, and task ids are not taken for keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain import text as module
from sora_mock.domain.text import redacted, redacted_value, visible
from sora_mock.runtime.clock import processor_time


@pytest.mark.parametrize("escape", ["\\n", "\\t", "\\x07", "\\u0007", "\\U0001f600", "\n", '"', " ", "="])
def test_a_key_is_redacted_behind_every_escape(escape: str) -> None:
    assert redacted(f'got "{escape}sk-evo-SECRET"') == f'got "{escape}sk-***"'


def test_a_task_id_is_no_key() -> None:
    assert redacted("/v1/tasks/task-unified-1757169743-7cvnl5zw") == "/v1/tasks/task-unified-1757169743-7cvnl5zw"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain é", "plain é"), ("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("a\u2028b", "a\\u2028b")],
)
def test_a_text_cannot_end_a_line_or_control_the_screen(text: str, shown: str) -> None:
    assert visible(text) == shown


# --- URLs ---


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/a?clip=5&n=2#top", "https://hooks.example.com/a?clip=5&n=2#top"),
        ("https://user:pw@hooks.example.com/", "https://***@hooks.example.com/"),
        ("https://token@hooks.example.com/", "https://***@hooks.example.com/"),
        ("https://user:p@w@hooks.example.com/a@b", "https://***@hooks.example.com/a@b"),
        ("https://hooks.example.com/?email=me@example.com", "https://hooks.example.com/?email=me@example.com"),
        (r"https:\/\/user:pw@hooks.example.com\/", r"https:\/\/***@hooks.example.com\/"),
        ("https%3A%2F%2Fuser%3Apw%40hooks.example.com", "https%3A%2F%2F***@hooks.example.com"),
        (
            "https://a.example/?next=https%253A%252F%252Fu%253Ap%2540b",
            "https://a.example/?next=https%253A%252F%252F***@b",
        ),
        ("https://a.example/sk-123", "https://a.example/sk-***"),
        ("https://a.example/sk%2D123", "https://a.example/sk-***"),
        ("https://a.example/%73%6b%2d123", "https://a.example/sk-***"),
        ("https://a.example/?next=%2Fsk%252D123", "https://a.example/?next=%2Fsk-***"),
        ("https://a.example/?clip=5&token=abc&n=2", "https://a.example/?clip=5&token=***&n=2"),
        ("https://a.example/?api_key=abc#top", "https://a.example/?api_key=***#top"),
        ("https://a.example/?%74oken=abc", "https://a.example/?%74oken=***"),
        ("https://a.example/?X-Amz-Signature=abc&sig=x", "https://a.example/?X-Amz-Signature=***&sig=***"),
        ("https://a.example/?monkey=1&design=2&author=me", "https://a.example/?monkey=1&design=2&author=me"),
        ("got 'https://u:p@a.example/?password=x' and more", "got 'https://***@a.example/?password=***' and more"),
    ],
)
def test_a_url_shows_neither_keys_nor_passwords(url: str, shown: str) -> None:
    assert redacted(url) == shown


SECRET = "SeCrEt7"
NAMES = [
    "token",
    "access_token",
    "apiKey",
    "api-key",
    "key",
    "sig",
    "client_secret",
    "password",
    "Authorization",
    "pwd",
]


@st.composite
def urls_with_secrets(draw: st.DrawFn) -> str:
    """A URL with one secret or more; each letter of what is around it may be percent-encoded, once or twice."""

    def spelt(text: str) -> str:
        spellings = ("{}", "%{:02x}", "%{:02X}", "%25{:02x}")
        return "".join(
            each if (way := draw(st.sampled_from(spellings))) == "{}" else way.format(ord(each)) for each in text
        )

    slashes = draw(st.sampled_from(["://", ":\\/\\/", "%3A%2F%2F", "%253a%252f%252f"]))
    at = draw(st.sampled_from(["@", "%40", "%2540"]))
    name = draw(st.sampled_from(NAMES))
    credentials = draw(st.sampled_from(["", f"{SECRET}{at}", f"me:{SECRET}{at}", f"me%3A{SECRET}@x{at}"]))
    query = draw(st.sampled_from(["", f"?{name}={SECRET}", f"?a=1&{name}=x{SECRET}&b=2", f"?a#{name}={SECRET}"]))
    key = draw(st.sampled_from(["", "/", "/x?a=", "/%2F", "/x?a=1&b="]))
    path = f"{key}{spelt('sk-')}{SECRET}" if key else "/hook"
    around = draw(
        st.sampled_from(["{}", "got '{}'", '{{"callback_url":"{}"}}', "see {} there", "https://a.example/?next={}"])
    )
    return around.format(f"https{slashes}{credentials}hooks.example.com{path}{query}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://a.example/?next=https://h.example/x?token=SECRET",
            "https://a.example/?next=https://h.example/x?token=***",
        ),
        ("https://a.example/?next=x?token=SECRET&a=1", "https://a.example/?next=x?token=***&a=1"),
        ("https://a.example/?token=a?b=SECRET#c", "https://a.example/?token=***#c"),
        ("https://a.example/?token=&a=b?c", "https://a.example/?token=&a=b?c"),
        (
            "https://a.example/?x=https%3A%2F%2Fb.example%3Ftoken%3DSECRET%26y%3D1",
            "https://a.example/?x=https%3A%2F%2Fb.example%3Ftoken%3D***%26y%3D1",
        ),
        ("https://a.example/?x=b%26user_pw%3DSECRET&y=1", "https://a.example/?x=b%26user_pw%3D***&y=1"),
        *(
            (f"https://a.example/?{name}=SECRET&page=1", f"https://a.example/?{name}=***&page=1")
            for name in ("code", "bearer", "user_pw", "passphrase", "hmac", "otp", "creds")
        ),
    ],
)
def test_a_secret_in_a_url_within_a_value_is_redacted(url: str, shown: str) -> None:
    assert redacted(url) == shown


@given(urls_with_secrets())
def test_no_spelling_of_a_url_shows_its_secrets(url: str) -> None:
    assert SECRET not in redacted(url)
    assert SECRET not in str(redacted_value({"a": [{url: url}], "b": 1}))


@given(st.text() | st.text(":/@?&=#%25skKtoken-\\ \"'"))
def test_what_is_redacted_stays_as_it_is(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "part", ["//", "://a", "%2F", "%252F", "%25", "?token=", "&a", "sk-", "%73", "@", "//a@", "?&;#="]
)
def test_the_time_to_redact_grows_with_the_length_alone(part: str) -> None:
    started = processor_time()
    redacted(part * (100_000 // len(part)))
    assert processor_time() - started < 0.5


@given(st.text(":/\\@?&=#%2Fsk-a7B3D\"'", max_size=40))
def test_a_pattern_is_left_out_only_where_it_cannot_match(text: str) -> None:
    every = module._without_query_secrets(module._CREDENTIALS.sub(lambda found: found[1] + "***@", text))
    assert redacted(text) == module._API_KEY.sub("sk-***", every)
