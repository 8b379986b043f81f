"""Tasks of other accounts."""

from sora_mock.verify.rule import equal, rule
from sora_mock.verify.target import GENERATION, Target

SOURCE = "service documentation, errors of the task query (D)"


@rule(
    id="foreign.query",
    claim="another account's task gets 403 permission_denied, at every age by either clock",
    source=SOURCE,
    needs={"keys"},
)
def foreign(target: Target) -> None:
    """The response shows nothing of the task."""
    other = target.other_account()
    task_id = target.created()["id"]
    for step in (0, 5, GENERATION):
        target.advance(step)
        target.advance(step, other)
        reply = target.get(f"/v1/tasks/{task_id}", key=other)
        message = "You don't have permission to access this task"
        reply.error(403, "permission_denied", "invalid_request_error", message)
    target.task(task_id)


@rule(
    id="foreign.money",
    claim="an account's task costs another one nothing",
    source="service documentation, credits (D)",
    needs={"keys", "ledger"},
)
def foreign_money(target: Target) -> None:
    """Balances are apart."""
    other = target.other_account()
    target.created()
    target.advance(GENERATION)
    equal("balance", target.balance(other), (1000, 0))


@rule(id="foreign.own", claim="each account sees its own task", source=SOURCE, needs={"keys"})
def own(target: Target) -> None:
    """And only that."""
    other = target.other_account()
    mine, theirs = target.created()["id"], target.created(key=other)["id"]
    target.task(mine)
    target.task(theirs, key=other)
    target.get(f"/v1/tasks/{theirs}").error(403, "permission_denied")
