"""How hard a host is pressed, as the clock and the server see it."""

import asyncio
import itertools
import time
from collections import Counter

from tests.pipeline.fetch.server import hosts


def visits(turns, names: list[str], seconds: float = 0.0, pause: float = 0.0):
    """Visits all hosts at once; the times at which each began, and the most at a time."""
    began: list[tuple[str, float]] = []
    inside, peak = Counter[str](), Counter[str]()

    async def visit(name: str) -> None:
        ticket = await turns.enter(name)
        began.append((name, time.monotonic()))
        inside[name] += 1
        peak[name] = max(peak[name], inside[name])
        await asyncio.sleep(seconds)
        inside[name] -= 1
        await turns.leave(name, ticket, pause)

    async def run() -> None:
        await asyncio.gather(*map(visit, names))
        await asyncio.sleep(0.05)

    asyncio.run(run())
    return began, peak


def test_a_host_has_at_most_so_many_visitors_and_another_is_not_in_their_way():
    began, peak = visits(hosts(at_once=2), ["a"] * 7 + ["b"], seconds=0.05)
    assert peak == {"a": 2, "b": 1}
    assert "b" in [name for name, _ in began[:3]]


def test_visits_to_a_host_are_apart():
    began, _ = visits(hosts(at_once=4, delay=0.1), ["a"] * 4 + ["b"])
    times = [at for name, at in began if name == "a"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) > 0.095
    assert began[1][0] == "b" or began[0][0] == "b"


def test_a_host_that_asks_for_a_pause_gets_it():
    began, _ = visits(hosts(at_once=1), ["a"] * 2, pause=0.2)
    assert began[1][1] - began[0][1] > 0.19


def test_a_turn_that_is_never_handed_back_ends_by_itself():
    turns = hosts(at_once=1)
    turns.lease = 0.1

    async def run() -> float:
        lost = await turns.enter("a")
        begin = time.monotonic()
        mine = await asyncio.wait_for(turns.enter("a"), 2)
        waited = time.monotonic() - begin
        await turns.leave("a", lost)  # too late, and no harm
        assert mine in turns.turns
        return waited

    assert asyncio.run(run()) > 0.09


def test_hosts_that_nobody_asks_any_more_are_forgotten():
    turns = hosts(at_once=2)
    visits(turns, [f"host-{number}" for number in range(1000)])
    assert not turns.hosts
    assert not turns.turns
