"""How soon a change of a status is told, at the replica that made it and at another one. `python -m bench.told`.

Two real replicas over one real PostgreSQL. At each somebody waits for the same request; a person presses Cancel, and
the messenger brings that to the first one. Its 200 to the messenger comes right after the commit: the times are from that
200 to the end of each answer, all seen by this program, which plays messenger, person and both sites on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import aiohttp

from tests.fleet import Fleet, fleet


async def one(made: Fleet, http: aiohttp.ClientSession, person: int) -> tuple[float, float]:
    """Milliseconds from the commit to the answer, there and elsewhere."""
    [sim] = made.load.sims
    site = made.load.one
    sim.person(person)
    request = await site.request()
    sim.open_link(person, request["max_link"])
    await sim.until(lambda: any(message.buttons for message in sim.chat(person)), 20)
    question = next(message for message in sim.chat(person) if message.buttons)

    async def wait(url: str) -> float:
        path = f"{url}/v1/otp/request/{request['request_id']}/status?wait=25"
        async with http.get(path, headers={"Authorization": f"Bearer {site.api_key}"}) as answer:
            if (await answer.json())["status"] != "cancelled":
                raise RuntimeError("nothing was told")
        return perf_counter()

    waits = [asyncio.create_task(wait(replica.url)) for replica in made.replicas]  # noqa: TID251  # awaited below
    await asyncio.sleep(0.05)
    row = next(at for at, buttons in enumerate(question.buttons) if buttons[0].value.startswith("no"))
    sim.press(person, question.id, row, 0)
    delivery = sim.deliveries[-1]
    await sim.until(lambda: delivery.done, 20)
    committed = perf_counter()
    here, there = await asyncio.gather(*waits)
    return (here - committed) * 1000, (there - committed) * 1000


async def measure(times: int) -> None:
    """Print the quantiles."""
    settings = {"TELEGRAM_BOT_TOKEN": "", "LOG_LEVEL": "warning", "REPLIES_PER_MINUTE": "1000000"}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            fleet(Path(folder), 2, wired=False, **settings) as made,
            aiohttp.ClientSession() as http,
        ):
            made.load.one.http = http
            made.load.relay.ports = [made.replicas[0].port]
            seen = [await one(made, http, 600_000_000 + 7919 * turn) for turn in range(times)]
    for name, values in zip(("same replica", "other replica"), zip(*seen, strict=True), strict=True):
        cuts = statistics.quantiles(values, n=100)
        print(
            f"{name}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, most {max(values):.1f} ms ({times} changes)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=300)
    asyncio.run(measure(parser.parse_args().times))
