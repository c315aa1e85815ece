"""The same call twice is one call: its key is claimed in the transaction of its effect, and what was answered is kept.

Whoever comes second finds the claim: with an answer, which is given again, or with the delivery that the first one
began, whose outcome is the answer. So nothing needs to be repaired after a crash: there is the effect with its claim,
or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TypeVar

from otp.codes import KeyRing
from otp.errors import IdempotencyMismatch
from otp.events import Event
from otp.model import Caller, Delivery, KeptCall, KeyClaim, Told
from otp.ports import About, Store, Tx, Work

T = TypeVar("T")

Effect = Callable[[Store], Coroutine[None, None, Told | Delivery]]
"""Does what a call asks for over the given store; a delivery whose outcome will be the answer, or the answer itself.

A refusal is an answer too: it is committed with what was done until then, which must be nothing or true by itself.
"""


class Within:
    """A store whose operations are part of one transaction; for what awaits nothing else."""

    holds_up = True

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def write(self, work: Work[T], about: About | None = None) -> T:
        return await work(self._tx)

    async def chore(self, work: Work[T]) -> T:
        return await work(self._tx)

    async def read(self, work: Work[T], about: About | None = None) -> T:
        return await work(self._tx)

    async def caller(self, key_hash: bytes) -> Caller | None:
        return await self._tx.caller(key_hash)

    def listen(self, listener: Callable[[Event], None]) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class CallKeys:
    """The keys that callers give their calls."""

    def __init__(self, store: Store, keys: KeyRing) -> None:
        self._store = store
        self._keys = keys

    def claim(self, caller: Caller, key: str, *asked: str) -> KeyClaim:
        """What a key of a project and mode claims. `asked` is the whole call, which may hold a code: see `fingerprints`."""
        name = f"{caller.project.id} {caller.mode} {key}"
        prints = self._keys.fingerprints(*asked)
        return KeyClaim(sha256(name.encode()).hexdigest(), caller.project.id, prints)

    def own_claims(self, caller: Caller, *asked: str) -> list[KeyClaim]:
        """The same for a call that is known by what it asks for: one for each secret key, the first is to be claimed.

        `asked` may hold a code, so its name is a fingerprint too; it has a space before it, as no caller's key has.
        """
        prints = self._keys.fingerprints(*asked)
        return [replace(self.claim(caller, f" {one}"), fingerprints=prints) for one in prints]

    async def find(self, *claims: KeyClaim) -> KeptCall | None:
        """The same call, made before, under one of these. Raises `IdempotencyMismatch`."""
        for claim in claims:
            kept = await self._store.read(partial(_kept, claim_id=claim.id))
            if kept is not None:
                return _same(claim, kept)
        return None

    async def once(self, claim: KeyClaim, effect: Effect) -> Told | Delivery | KeptCall:
        """Have the effect and its claim committed together, or find that it was before.

        What the effect raises undoes the claim with it: the key is free. Raises `IdempotencyMismatch`.
        """

        async def work(tx: Tx) -> Told | Delivery | KeptCall:
            kept = _same(claim, await tx.claim_call(claim))
            if kept is not None:
                return kept
            done = await effect(Within(tx))
            if isinstance(done, Told):
                await tx.keep_call(claim.id, None, done)
            else:
                await tx.keep_call(claim.id, done.id, None)
            return done

        return await self._store.write(work)

    async def instead(
        self, claim: KeyClaim, before: str, effect: Callable[[Store], Coroutine[None, None, Delivery | None]]
    ) -> Delivery | None:
        """Have another delivery in place of one that came to nothing, unless somebody told what that came to by now.

        The key goes along in the same commit, so there is never a second one.
        """

        async def work(tx: Tx) -> Delivery | None:
            if not await tx.drop_delivery(claim.id, before):
                return None
            done = await effect(Within(tx))
            await tx.keep_call(claim.id, done.id if done is not None else before, None)
            return done

        return await self._store.write(work)

    async def keep(self, claim: KeyClaim, delivery_id: str, told: Told) -> Told:
        """Keep what a delivery came to: the first who says so is right; what they said."""

        async def work(tx: Tx) -> Told:
            if await tx.keep_call(claim.id, delivery_id, told):
                return told
            kept = await tx.kept_call(claim.id)
            same = kept is not None and kept.delivery_id == delivery_id
            return kept.told if kept is not None and kept.told is not None and same else told

        return await self._store.write(work)

    async def free(self, claim: KeyClaim, delivery_id: str) -> None:
        """What this delivery came to is not kept: the same call may be made anew."""
        await self._store.write(lambda tx: tx.free_call(claim.id, delivery_id))


async def _kept(tx: Tx, claim_id: str) -> KeptCall | None:
    return await tx.kept_call(claim_id)


def _same(claim: KeyClaim, kept: KeptCall | None) -> KeptCall | None:
    if kept is not None and kept.fingerprint not in claim.fingerprints:
        raise IdempotencyMismatch("This Idempotency-Key was used for another call in the last 24 hours.")
    return kept
