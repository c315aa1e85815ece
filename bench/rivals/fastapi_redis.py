"""One-time codes the usual way: FastAPI on uvicorn, each code a key of Redis.

As a careful hand would write it: attempts are counted before the comparison, and only one caller uses a code up. It has
no projects, no locks of people, no strict reading of JSON, and no word of anything in a log.
"""

from __future__ import annotations

import hmac
import os
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from redis.asyncio import BlockingConnectionPool, Redis

ATTEMPTS = 5
API_KEY = os.environ["API_KEY"]

# The default pool answers 500 to whoever comes when its 100 connections are taken: in this one they wait.
redis = Redis(
    connection_pool=BlockingConnectionPool(port=int(os.environ["REDIS_PORT"]), decode_responses=True)
)
app = FastAPI()


class Guess(BaseModel):
    """What a person entered."""

    subscriber_id: str
    code: str


async def known(authorization: Annotated[str, Header()]) -> None:
    """The caller has the key."""
    if not hmac.compare_digest(authorization, f"Bearer {API_KEY}"):
        raise HTTPException(401)


@app.post("/verify", dependencies=[Depends(known)])
async def verify(guess: Guess) -> dict[str, bool]:
    """Count, compare, use up."""
    key = f"code:{guess.subscriber_id}"
    async with redis.pipeline(transaction=True) as together:
        code, made = await together.hget(key, "code").hincrby(key, "attempts", 1).execute()
    if code is None:
        await redis.delete(key)
        return {"verified": False}
    if made > ATTEMPTS or not hmac.compare_digest(code, guess.code):
        return {"verified": False}
    return {"verified": await redis.delete(key) == 1}
