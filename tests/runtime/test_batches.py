"""Batches: how many steps go in one iteration of the event loop, and in which order."""

import asyncio

from sora_mock.runtime.batches import Batches


async def rounds_of(batches: Batches, count: int) -> list[list[int]]:
    """The steps that went in each iteration of the event loop, by their numbers."""
    loop, rounds = asyncio.get_running_loop(), [list[int]()]

    def next_round() -> None:
        rounds.append([])
        loop.call_soon(next_round)

    async def step(number: int) -> None:
        await batches.take()
        rounds[-1].append(number)

    next_round()
    await asyncio.gather(*(step(number) for number in range(count)))
    return rounds


def test_no_more_steps_than_the_batch_go_in_one_round_and_none_is_lost() -> None:
    rounds = asyncio.run(rounds_of(Batches(4), 23))
    assert [number for each in rounds for number in each] == list(range(23))
    assert max(map(len, rounds)) == 4


def test_a_step_that_was_given_up_takes_no_place() -> None:
    async def three() -> list[bool]:
        batches = Batches(1)
        await batches.take()
        waiting = [asyncio.create_task(batches.take()) for _ in range(3)]
        waiting[0].cancel()
        await asyncio.wait(waiting, timeout=5)
        return [task.done() and not task.cancelled() for task in waiting]

    assert asyncio.run(three()) == [False, True, True]


def test_a_batch_is_full_again_in_the_next_round() -> None:
    async def twice() -> list[list[int]]:
        batches = Batches(2)
        await rounds_of(batches, 2)
        return await rounds_of(batches, 2)

    assert max(map(len, asyncio.run(twice()))) == 2
