"""Behind a pooler of transactions: a real PgBouncer, where the machine has one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import pytest

from otp.errors import StorageUnavailable
from otp.events import RequestTouched
from otp.service import Reason
from storage import Reach, open_store
from tests.conftest import postgres_url
from tests.fakes import FakeClock, at_rest
from tests.process import free_port
from tests.world import World, make_world, wrong

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="NO PGBOUNCER HERE: install it (Debian: apt-get install pgbouncer)"
)


@pytest.fixture
async def behind(tmp_path: Path, worker_id: str) -> AsyncIterator[tuple[str, str]]:
    """An empty database: its address behind the pooler, and the direct one."""
    direct = await postgres_url(worker_id)
    parts = urlsplit(direct)
    folder = parse_qs(parts.query).get("host", [""])[0]
    host = unquote(folder) or parts.hostname or ""
    port, name = free_port(), parts.path.strip("/")
    (tmp_path / "users.txt").write_text('"postgres" ""\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host={host} port={parts.port or 5432} dbname={name} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {tmp_path}/users.txt\npool_mode = transaction\ndefault_pool_size = 3\n"
    )
    command = [str(PROGRAM), str(tmp_path / "pgbouncer.ini")]
    if os.getuid() == 0:  # it does not run as root
        for path in (tmp_path, *tmp_path.parents):
            if path.owner() == "root" and path != Path("/") and path != Path("/tmp"):  # noqa: S108
                path.chmod(path.stat().st_mode | 0o055)
        command += ["-u", Path(host).owner() if folder else "nobody"]
    url = f"postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                await (await asyncpg.connect(url, statement_cache_size=0)).close()
                break
            except (OSError, asyncpg.PostgresError):
                assert process.returncode is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.02)
        yield url, direct
    finally:
        process.terminate()
        await process.wait()


async def test_everything_works_behind_a_pooler(behind: tuple[str, str], clock: FakeClock) -> None:
    """With three connections for many: volleys from two replicas, and what one does is told to the other."""
    url, direct = behind
    reach = Reach(direct, pool_size=8, statement_cache=0, own_time=False)
    stores = [await open_store(url, clock, reach) for _ in range(2)]
    worlds: list[World] = [await make_world(store, clock) for store in stores]
    told = asyncio.Event()
    stores[1].listen(lambda event: told.set() if isinstance(event, RequestTouched) else None)
    await asyncio.sleep(0.3)  # until the lines are there: a pooler's clients are seen nowhere else
    sub = await worlds[0].subscribe()
    await asyncio.wait_for(told.wait(), 10)
    code = worlds[0].telegram.codes[-1]
    guesses = [world.service.verify(worlds[0].caller, sub, wrong(code), None, None) for world in worlds * 10]
    verdicts = await asyncio.gather(*guesses)
    assert [verdict.reason for verdict in verdicts].count(Reason.WRONG_CODE) == 5
    assert all(map(at_rest, stores))
    for world in worlds:
        await world.courier.close(0)
    for store in stores:
        await store.close()


async def test_remembered_statements_behind_an_old_pooler_are_an_error_and_no_lie(
    behind: tuple[str, str], clock: FakeClock
) -> None:
    """Whoever forgets DATABASE_STATEMENT_CACHE=0 is told so by failures: never by a wrong answer."""
    url, direct = behind
    stores = [await open_store(url, clock, Reach(direct, pool_size=4, own_time=False)) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(store.read(lambda tx: tx.projects()) for store in stores for _ in range(20)), return_exceptions=True
    )
    for outcome in outcomes:
        assert outcome == [] or isinstance(outcome, (StorageUnavailable, asyncpg.PostgresError))
    for store in stores:
        await store.close()
