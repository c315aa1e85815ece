"""The samples for nginx and Caddy, in the real programs, in front of the real service: what they pass and what not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from ssl import SSLContext
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.certificates import Authority
from tests.deploying import CADDY, NGINX, text
from tests.process import Outside, free_port, outside

NAME = "codes.example.org"
PROGRAMS = {
    name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin") for name in ("nginx", "caddy")
}
JSON = {"Content-Type": "application/json"}
HERE = "127.0.0.2"
"""Where the tests' clients are: not where the proxy is."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@dataclass
class Proxy:
    """A proxy in front of the service."""

    one: Outside
    http: aiohttp.ClientSession
    trusting: SSLContext
    port: int
    plain_port: int

    async def call(
        self, method: str, path: str, *, key: str | None = None, **more: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (in lower case), body."""
        async with self.stream(method, path, key=key, **more) as answer:
            return (
                answer.status,
                {name.lower(): value for name, value in answer.headers.items()},
                await answer.read(),
            )

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, key: str | None = None, **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is not read yet; the path goes out as it is written."""
        headers = {"Host": NAME, **more.pop("headers", {})}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        url = URL(f"https://127.0.0.1:{self.port}{path}", encoded=True)
        async with self.http.request(
            method,
            url,
            headers=headers,
            ssl=self.trusting,
            server_hostname=NAME,
            allow_redirects=False,
            **more,
        ) as answer:
            yield answer

    async def request(self) -> str:
        """A new request's id."""
        status, _, body = await self.call("POST", "/v1/otp/request", key=self.one.api_key)
        assert status == 200, body
        return str(json.loads(body)["request_id"])


def nginx(folder: Path, pem: Path, port: int, plain_port: int, service: int) -> tuple[list[str], list[str]]:
    """What judges its settings, and what runs it: the sample, with other ports and paths."""
    sample = re.sub(r"^ +listen \[::\].*\n", "", text(NGINX), flags=re.MULTILINE)
    for old, new in (
        (r"listen 80;", f"listen 127.0.0.1:{plain_port};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (r"server 127\.0\.0\.1:8080;", f"server 127.0.0.1:{service};"),
        (r"(ssl_certificate(?:_key)? +)\S+;", rf"\1{pem};"),
    ):
        sample, times = re.subn(old, new, sample)
        assert times, old
    (folder / "tapcode.conf").write_text(sample, encoding="utf-8")
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    main = folder / "nginx.conf"
    main.write_text(
        f"{user} pid {folder}/pid; error_log stderr; events {{}} http {{ {places} include tapcode.conf; }}",
        encoding="utf-8",
    )
    command = [str(PROGRAMS["nginx"]), "-e", "stderr", "-p", str(folder), "-c", str(main)]
    return [*command, "-t"], [*command, "-g", "daemon off;"]


def caddy(folder: Path, pem: Path, port: int, plain_port: int, service: int) -> tuple[list[str], list[str]]:
    """The same: the sample, with a certificate that is there, and without what would go to the network."""
    before = f"{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {plain_port}\n}}\n"
    sample, times = re.subn(
        r"^(\{\$PUBLIC_URL\} \{\n)", rf"\1\ttls {pem} {pem}\n", text(CADDY), flags=re.MULTILINE
    )
    assert times == 1
    (folder / "Caddyfile").write_text(before + sample, encoding="utf-8")
    environment = [f"PUBLIC_URL=https://{NAME}:{port}", f"TAPCODE=127.0.0.1:{service}", f"HOME={folder}"]
    more = ["--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    command = ["env", *environment, str(PROGRAMS["caddy"])]
    return [*command, "validate", *more], [*command, "run", *more]


MAKERS: dict[str, Callable[..., tuple[list[str], list[str]]]] = {"nginx": nginx, "caddy": caddy}


@pytest.fixture(params=["nginx", "caddy"])
async def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Proxy]:
    """Each of the two, before a service of its own."""
    name = request.param
    if PROGRAMS[name] is None:
        package = "nginx-light" if name == "nginx" else name
        pytest.skip(f"NO {name.upper()} HERE: install it (Debian: apt-get install {package})")
    authority = Authority(tmp_path)
    authority.server(NAME)
    [pem] = tmp_path.glob(f"{NAME}.*.pem")
    port, plain_port = free_port(), free_port()
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with (
        outside(tmp_path, TRUSTED_PROXIES="127.0.0.1") as one,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, local_addr=(HERE, 0)), auto_decompress=False
        ) as http,
    ):
        judge, run = MAKERS[name](folder, pem, port, plain_port, one.port)
        with (folder / "log").open("wb") as log:
            judged = await asyncio.create_subprocess_exec(*judge, stdout=log, stderr=log)
            assert await judged.wait() == 0, (folder / "log").read_text()
            process = await asyncio.create_subprocess_exec(*run, stdout=log, stderr=log)
        try:
            await listens(port, process, folder / "log")
            yield Proxy(one, http, authority.trusting(), port, plain_port)
        finally:
            process.terminate()
            await process.wait()


async def listens(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    """Until it does."""
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.returncode is None, log.read_text()
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise AssertionError(log.read_text())


async def test_what_sites_visitors_and_messengers_need_comes_through(proxy: Proxy) -> None:
    """The API with its own errors, the webhooks, the page, the button, the reference; all over TLS from then on."""
    request_id = await proxy.request()
    status, headers, body = await proxy.call(
        "GET", f"/v1/otp/request/{request_id}/status", key=proxy.one.api_key
    )
    assert (status, json.loads(body)["status"]) == (200, "pending")
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert not re.search(r"\d", headers.get("server", ""))

    status, _, body = await proxy.call(
        "POST",
        "/v1/otp/request",
        key=proxy.one.api_key,
        data=b'{"purpose": "' + b"x" * 100_000 + b'"}',
        headers=JSON,
    )
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")

    for channel in ("telegram", "max"):
        status, _, _ = await proxy.call("POST", f"/webhooks/{channel}", json={})
        assert status == 401, channel
    for path in ("/docs", "/openapi.json", "/button/1.0.0/tapcode-button.js"):
        status, _, _ = await proxy.call("GET", path)
        assert status == 200, path
    _, _, page = await proxy.call("GET", "/c/nothing")
    assert b"<html" in page

    async with proxy.http.get(
        f"http://127.0.0.1:{proxy.plain_port}/docs?a=b", headers={"Host": NAME}, allow_redirects=False
    ) as answer:
        assert answer.status in (301, 308)
        assert re.fullmatch(rf"https://{NAME}(:\d+)?/docs\?a=b", answer.headers["Location"])


async def test_what_is_for_the_operator_stays_inside(proxy: Proxy) -> None:
    """Written in no way whatever."""
    for path in ("/metrics", "/healthz", "/readyz", "/", "/admin"):
        assert (await proxy.call("GET", path))[0] == 404, path
    for way in ("/v1/../{}", "/v1/%2e%2e/{}", "/docs/..%2f{}", "//{}", "/v1//../{}", "/%{:x}{}", "/c/..;/{}"):
        for name in ("healthz", "readyz"):
            path = way.format(*((ord(name[0]), name[1:]) if "x}" in way else (name,)))
            status, _, body = await proxy.call("GET", path)
            assert (status, b'"ok"' in body) != (200, True), path
            assert status in (301, 308, 400, 404), path


async def test_a_body_that_no_messenger_sends_is_refused(proxy: Proxy) -> None:
    """Two megabytes. A webhook without its secret is refused before anybody has read so far."""
    for path in ("/v1/otp/verify", "/webhooks/telegram"):
        try:
            async with proxy.stream(
                "POST", path, key=proxy.one.api_key, data=BytesIO(b"x" * 2_000_000), headers=JSON
            ) as answer:
                status = answer.status  # the rest of it may be lost, as the other side has left
        except aiohttp.ClientOSError:  # it was told no, and left, before it had said everything
            continue
        assert status in (401, 413, 502), (
            path
        )  # 502: the service had said no and left, and Caddy was still writing


async def test_a_change_is_told_at_once(proxy: Proxy) -> None:
    """To who waits for it, and piece by piece to who reads a stream: the proxy holds nothing back."""
    request_id = await proxy.request()
    path, key = f"/v1/otp/request/{request_id}/status", proxy.one.api_key
    waiting = asyncio.ensure_future(proxy.call("GET", f"{path}?wait=30", key=key))
    async with proxy.stream("GET", path, key=key, headers={"Accept": "text/event-stream"}) as stream:
        assert stream.status == 200
        async with asyncio.timeout(5):
            await stream.content.readuntil(b"pending")
        assert not waiting.done()
        assert (await proxy.call("POST", f"/v1/otp/request/{request_id}/cancel", key=key))[0] == 200
        async with asyncio.timeout(5):
            await stream.content.readuntil(b"cancelled")
            status, _, body = await waiting
    assert (status, json.loads(body)["status"]) == (200, "cancelled")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "Forwarded": "for=203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
    ],
    ids=["nothing", "one", "more", "real"],
)
async def test_what_a_client_says_of_its_address_is_not_believed(proxy: Proxy, said: dict[str, str]) -> None:
    """The service sees where the connection to the proxy came from."""
    status, _, _ = await proxy.call("POST", "/v1/otp/request", key="tc_live_" + "w" * 40, headers=said)
    assert status == 401
    refused: list[str] = []
    for _ in range(250):  # lines are written a moment later
        refused = [line for line in proxy.one.log.splitlines() if '"client"' in line]
        if refused:
            break
        await asyncio.sleep(0.02)
    assert [json.loads(line)["client"] for line in refused] == [HERE]
