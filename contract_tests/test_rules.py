"""Each rule as a test; what cannot be checked is skipped with its reason."""

import pytest

from sora_mock.verify import command, runner
from sora_mock.verify.rule import Rule
from sora_mock.verify.session import VerifySession


def test_rule(
    contract_rule: Rule,
    contract_session: VerifySession,
    unaffordable: dict[str, str],
    contract_results: list[runner.CheckResult],
) -> None:
    """The target keeps the rule."""
    if contract_rule.id in unaffordable:
        pytest.skip(unaffordable[contract_rule.id])
    result = runner.check(contract_session, contract_rule)
    contract_results.append(result)
    if contract_session.guard_ended:
        pytest.exit(f"contract: {command.GUARD_ENDED}", command.EXIT_UNREACHABLE)
    if result.outcome == runner.UNVERIFIED:
        pytest.skip(result.reason)
    shown = "\n\n".join(f"{each.request}\n\n{each.reply}" for each in result.exchanges[-1:])
    assert result.outcome == runner.PASSED, f"{result.reason}\nsource: {contract_rule.source}\n\n{shown}"
