"""The calls that the documents show, made with curl as they stand there, and their answers beside the ones shown."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from otp.model import Mode
from tests.markdown import Block, blocks
from tests.running import Running, running

REQUEST, SUBSCRIBER, ACCOUNT = "Kq9xV3mN2pT7rL8s", "37bb1792-434b-4d18-bf58-354649e4d376", "user-4711"
WEBHOOK, EVENT = "we_4fKq9xV3mN2pT7rL8sB1cD2e", "evt_019acdd2b1c200008f3a1b2c4d5e6f70"
CODES = {"482916": "424242", "482 916": "424 242"}
"""What the documents show, and what test mode sends."""
NOWHERE = "http://127.0.0.1:9/"
SHELL = 'curl() { command curl -S --fail-with-body --max-time 20 "$@"; local code=$?; echo; return $code; }; set -e\n'
OURS = re.compile(r"^(BASE|KEY)=.*$", re.MULTILINE)

DOCUMENTS = ("README.md", pytest.param("docs/api.md", marks=pytest.mark.slow))
"""The Russian ones have the same blocks: `test_documents` holds that."""


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service, called with a key of test mode."""
    if shutil.which("curl") is None:
        reason = "NOT TESTED: there is no curl, so nobody knows whether the documented calls work"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    async with running(events_allow_private=True) as made:
        (project,) = await made.service.projects.all()
        made.api_key = (await made.service.projects.rotate_key(project.id, 0, Mode.TEST)).api_key
        yield made


async def post(run: Running, path: str, **body: Any) -> dict[str, Any]:
    answer = await run.call("POST", path, body)
    assert answer.status < 300, answer
    return dict(answer.json)


async def person(run: Running, **fields: Any) -> tuple[str, str]:
    """Somebody who just got a code: the request and the subscriber."""
    request = str((await post(run, "/v1/otp/request", **fields))["request_id"])
    return request, str((await post(run, f"/v1/test/request/{request}/consent"))["subscriber_id"])


async def world(run: Running, text: str) -> dict[str, str]:
    """What must be there for a block: what stands in it, and what it is called in this run."""
    names = dict(CODES)
    if WEBHOOK in text or EVENT in text:
        names[WEBHOOK] = (await post(run, "/v1/webhooks", url=NOWHERE))["id"]
    if ACCOUNT in text or "/v1/subscribers/" in text:
        request, subscriber = await person(run, external_id=ACCOUNT)
        known = {"subscriber_id": subscriber, "code": CODES["482916"], "request_id": request}
        assert (await post(run, "/v1/otp/verify", **known))["verified"]
    else:
        request, subscriber = await person(run)
    names |= {REQUEST: request, SUBSCRIBER: subscriber}
    if EVENT in text:
        names[EVENT] = (await run.call("GET", "/v1/events")).json["events"][0]["id"]
    if "/cancel" in text or "/v1/test/" in text:
        names[REQUEST] = (await post(run, "/v1/otp/request"))["request_id"]
    return names


async def shell(run: Running, block: Block) -> str:
    """Run a block as somebody would who pastes it, with their own ids in place of those shown."""
    text = OURS.sub("", block.text)
    for shown, real in (await world(run, text)).items():
        text = text.replace(shown, real)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", SHELL + text),
        env={"PATH": os.environ["PATH"], "BASE": run.url, "KEY": run.api_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, (block.text, said)
    for webhook in (await run.call("GET", "/v1/webhooks")).json["webhooks"]:
        await run.call("DELETE", f"/v1/webhooks/{webhook['id']}")
    return said


def shape(answer: dict[str, Any]) -> dict[str, type]:
    """The fields of an answer, and of which kind they are; links that are off are links all the same."""
    kinds = {name: type(value) for name, value in answer.items() if name != "test"}
    return kinds | {name: str for name in kinds if name.endswith("_link")}


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_the_documented_calls_work_and_answer_as_shown(run: Running, document: str):
    """Each block with curl, in order; where JSON follows, the last answer has exactly the fields that are shown."""
    found = blocks(document)
    calls = [(one, after) for one, after in zip(found, [*found[1:], Block("", "")], strict=True)]
    calls = [(one, after) for one, after in calls if one.language == "sh" and "$BASE" in one.text]
    assert len(calls) >= 4
    compared = 0
    for block, after in calls:
        said = await shell(run, block)
        if after.language == "json" and after.beside:
            last = json.loads(said.strip().splitlines()[-1])
            assert shape(last) == shape(json.loads(after.text)), block.text
            compared += 1
    assert compared >= len(calls) / 2
