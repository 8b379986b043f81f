"""API keys are redacted from every text, and task ids are not taken for keys."""

import pytest

from sora_mock.domain.text import redacted, visible


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
