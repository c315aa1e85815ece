"""What a start loads, and what it does not: each looked at in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.process import ROOT

METRICS = {"metrics_token": "m" * 20}
MAX = {"max_bot_token": "a-token-of-the-tests"}
TELEGRAM = {"telegram_bot_token": "7000000001:" + "t" * 35}
SERVED = """
import asyncio, sys
from config.clock import SystemClock, SystemRandomness
from config.settings import defaults_but
from otp.model import Mode
from storage import open_store
from wiring.app import build_app
from wiring.parts import make_skins
async def serve(given):
    settings = defaults_but({{"secret_keys": "k" * 40, **given}})
    store = await open_store("sqlite:///:memory:", SystemClock())
    parts = {{"clock": SystemClock(), "randomness": SystemRandomness(), "skins": make_skins(settings)}}
    service = build_app(settings, store=store, mode=Mode.LIVE, **parts)
    await service.end()
asyncio.run(serve({given}))
print(sorted({{"aiogram", "maxapi", "asyncpg", "metrics", "prometheus_client"}} & set(sys.modules)))
"""
BUILT = """
import bot.telegram
from aiogram import methods, types
from pydantic import BaseModel
known = (*vars(types).values(), *vars(methods).values())
models = [one for one in known if isinstance(one, type) and issubclass(one, BaseModel)]
"""


def printed(code: str) -> str:
    """By a program of its own."""
    got = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert got.returncode == 0, got.stderr
    return got.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    "given,loaded",
    [
        ({}, "[]"),
        (MAX, "['maxapi']"),
        (TELEGRAM, "['aiogram']"),
        (METRICS, "['metrics', 'prometheus_client']"),
    ],
    ids=["none", "max", "telegram", "metrics"],
)
def test_a_service_loads_only_what_is_on(given: dict[str, str], loaded: str) -> None:
    """And over SQLite no driver of PostgreSQL."""
    assert printed(SERVED.format(given=given)) == loaded


@pytest.mark.slow
def test_telegrams_models_are_not_all_built_at_start() -> None:
    """It would take 2 seconds and 100 MB; the few that a code needs are there before the first one."""
    code = "built = {one.__name__ for one in models if one.__dict__.get('__pydantic_complete__')} & {*vars(types)}\n"
    ready = "'Message' in built, methods.SendMessage.__pydantic_complete__"
    shown = f"print(len(types.__all__) > 400, len(built) < 20, {ready})"
    assert printed(BUILT + code + shown) == "True True True True"


@pytest.mark.slow
def test_every_one_of_telegrams_models_can_be_built_later() -> None:
    """Where one is first used, by whatever name it refers to the others."""
    code = (
        "for one in models:\n"
        "    one.__pydantic_validator__\n"
        "    one.model_rebuild(raise_errors=True)\n"
        "print([one for one in models if not one.__pydantic_complete__])"
    )
    assert printed(BUILT + code) == "[]"


def test_an_answer_with_models_that_were_never_used_can_be_read() -> None:
    """Nobody builds those by hand: pydantic does, when the answer comes."""
    code = (
        "from aiogram.methods import Response\n"
        "info = types.WebhookInfo; chat = types.ChatFullInfo\n"
        "print(info.__pydantic_complete__, chat.__pydantic_complete__)\n"
        'read = Response[info].model_validate_json(\'{"ok": true, "result": {"url": "u", \'\n'
        '    \'"has_custom_certificate": false, "pending_update_count": 0}}\')\n'
        "print(type(read.result).__name__)\n"
        "update = types.Update.model_validate({'update_id': 1, 'message': {'message_id': 1, 'date': 1, "
        "'chat': {'id': 1, 'type': 'private'}}})\n"
        "print(type(update.message.chat).__name__)\n"
    )
    assert printed(BUILT + code).split() == ["False", "False", "WebhookInfo", "Chat"]
