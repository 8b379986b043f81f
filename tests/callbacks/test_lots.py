"""Lots: how many steps go in one round of the event loop, and in which order."""

import asyncio

from sora_mock.callbacks.lots import Lots


async def rounds_of(lots: Lots, count: int) -> list[list[int]]:
    """The steps that went in each round of the event loop, by their numbers."""
    loop, rounds = asyncio.get_running_loop(), [list[int]()]

    def next_round() -> None:
        rounds.append([])
        loop.call_soon(next_round)

    async def step(number: int) -> None:
        await lots.take()
        rounds[-1].append(number)

    next_round()
    await asyncio.gather(*(step(number) for number in range(count)))
    return rounds


def test_no_more_steps_than_the_lot_go_in_one_round_and_none_is_lost() -> None:
    rounds = asyncio.run(rounds_of(Lots(4), 23))
    assert [number for each in rounds for number in each] == list(range(23))
    assert max(map(len, rounds)) == 4


def test_a_step_that_was_given_up_takes_no_place() -> None:
    async def three() -> list[bool]:
        lots = Lots(1)
        await lots.take()
        waiting = [asyncio.create_task(lots.take()) for _ in range(3)]
        waiting[0].cancel()
        await asyncio.wait(waiting, timeout=5)
        return [task.done() and not task.cancelled() for task in waiting]

    assert asyncio.run(three()) == [False, True, True]


def test_a_lot_is_full_again_in_the_next_round() -> None:
    async def twice() -> list[list[int]]:
        lots = Lots(2)
        await rounds_of(lots, 2)
        return await rounds_of(lots, 2)

    assert max(map(len, asyncio.run(twice()))) == 2
