"""Calls with an `Idempotency-Key`: the first one has the effect, the same again gets its answer again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from aiohttp import web
from pydantic import BaseModel

from api.answers import json_body
from api.bodies import InvalidFields
from api.operations import Operation
from api.problems import CONTENT_TYPE, PROBLEMS, RETRYABLE, of_error
from otp.account_calls import CERTAIN, hopeful, rest_of
from otp.errors import IdempotencyInProgress, OtpError, StorageUnavailable
from otp.lifecycle import UNDER_WAY
from otp.model import Caller, Delivery, DeliveryState, KeptCall, KeyClaim, Told
from otp.ports import Store
from otp.service import OtpService

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
KEY_PATTERN: Final = "^[!-~]{1,255}$"
_KEY: Final = re.compile(KEY_PATTERN.replace("$", r"\Z"))
_KEPT: Final = frozenset({200, 201, 404, 502})
"""And each 409 that is not retryable."""
_TRIES: Final = 3
"""How often a key that somebody else sets free just now is claimed anew."""
AGAIN_SECONDS: Final = 1


class Serves(Protocol):
    """What operations run over."""

    def over(self, store: Store) -> Any:
        """The same over another store."""
        ...


class KeyedCalls:
    """Answers calls that have a key."""

    def __init__(self, service: OtpService, serves: Serves | None = None) -> None:
        """`serves` is what operations run over, where that is not `service`."""
        self._service = service
        self._serves = serves or service
        self._keys = service.call_keys()

    async def answer(
        self, request: web.Request, caller: Caller, operation: Operation, body: BaseModel, data: Any
    ) -> web.Response:
        """The answer to a call that was let in, and whose body is valid. Raises `InvalidFields`, `OtpError`.

        Two bodies are the same when they are the same JSON value; where an operation says itself what tells its calls
        apart, when that is the same.
        """
        if operation.own_key is not None:
            claims = self._keys.own_claims(caller, operation.path, *operation.own_key(body))
        else:
            key = _key(request)
            if operation.check is not None:
                operation.check(self._service.policy, body)
            asked = json.dumps(data, sort_keys=True)
            claims = [self._keys.claim(caller, key, operation.method, request.rel_url.raw_path, asked)]
        claim, call = claims[0], _Call(self._serves, operation, caller, body, request.match_info)
        for _ in range(_TRIES):
            kept = await self._keys.find(*claims) or await self._first(claim, call)
            if isinstance(kept, Told):
                return _response(call.whole(kept))
            told = kept.told or await self._meanwhile(claim, call, kept)
            if told is not None:
                return _response(call.anew(told), replayed=True)
        raise _in_progress()

    async def _first(self, claim: KeyClaim, call: _Call) -> Told | KeptCall:
        """Have the effect, unless somebody else has it by now."""
        done = await self._keys.once(claim, call.effect)
        if not isinstance(done, Delivery):
            return done
        settled, earlier = await self._service.outcome(done), None
        following = await self._following(claim, call, settled)
        if following is not None:
            earlier, settled = settled, await self._service.outcome(following, rest_of(done, following))
        told = await self._told(claim, call, (following or done).id, settled, earlier)
        if isinstance(told, OtpError):
            raise told
        return told

    async def _following(self, claim: KeyClaim, call: _Call, settled: Delivery | None) -> Delivery | None:
        """What takes the place of a delivery that certainly failed. Only whoever began the first one does that."""
        if settled is None or settled.state is not DeliveryState.REFUSED:
            return None
        try:
            return await self._keys.instead(claim, settled.id, partial(call.follow, settled))
        except CERTAIN:
            return None  # and the first failure is told

    async def _meanwhile(self, claim: KeyClaim, call: _Call, kept: KeptCall) -> Told | None:
        """What came of the first call, which did not say so yet, or never will; None when its key is free again."""
        delivery_id = kept.delivery_id or ""
        delivery = await self._service.delivery(delivery_id)
        if delivery is not None and delivery.state in UNDER_WAY:
            raise _in_progress()
        told = await self._told(claim, call, delivery_id, delivery)
        return told if isinstance(told, Told) else None

    async def _told(
        self,
        claim: KeyClaim,
        call: _Call,
        delivery_id: str,
        settled: Delivery | None,
        earlier: Delivery | None = None,
    ) -> Told | OtpError:
        """What a delivery came to, kept; or a refusal that is not kept. Raises `StorageUnavailable`: nobody knows."""
        told = await call.told(settled, earlier)
        with suppress(StorageUnavailable):  # then the delivery tells it to whoever asks again
            if isinstance(told, Told):
                return await self._keys.keep(claim, delivery_id, told)
            await self._keys.free(claim, delivery_id)
        return told


class _Call:
    """One call, to be run over this store or that."""

    def __init__(
        self,
        service: Any,
        operation: Operation,
        caller: Caller,
        body: BaseModel,
        path: Mapping[str, str],
    ) -> None:
        self._service = service
        self._operation = operation
        self._caller = caller
        self._body = body
        self._path = path
        self._untold: dict[str, Any] = {}
        """Of the answer, what is not kept."""

    async def effect(self, store: Store) -> Told | Delivery:
        """What it does, within a transaction; see `otp.idempotency.Effect`."""
        service, later = self._service.over(store), self._operation.later
        try:
            if later is not None:
                begun = await later.begin(service, self._caller, self._body, **self._path)
                return begun if isinstance(begun, Delivery) else _done(begun)
            done = await self._run(service)
            self._untold = {name: done.pop(name) for name in self._operation.told_once if name in done}
            return _done(done, self._operation.success)
        except OtpError as error:
            return _refusal(error)

    def whole(self, told: Told) -> Told:
        """The answer with what is told only now."""
        if not self._untold or told.status != self._operation.success:
            return told
        return _done(json.loads(told.body) | self._untold, told.status)

    def anew(self, told: Told) -> Told:
        """A kept answer, with what is not kept because it follows from it."""
        derive = self._operation.told_anew
        if derive is None or told.status != self._operation.success:
            return told
        body = json.loads(told.body)
        return _done(body | derive(self._service, self._body, body), told.status)

    async def _run(self, service: Any) -> dict[str, Any]:
        if self._operation.run is None:
            raise TypeError("an operation without a body takes no key")
        return await self._operation.run(service, self._caller, self._body, **self._path)

    async def follow(self, settled: Delivery, store: Store) -> Delivery | None:
        """Another delivery, within a transaction."""
        later = self._operation.later
        if later is None or later.follow is None:
            return None
        return await later.follow(self._service.over(store), self._caller, self._body, settled)

    async def told(self, settled: Delivery | None, earlier: Delivery | None = None) -> Told | OtpError:
        """What a delivery of it came to; after an earlier one that failed, the more hopeful of both failures."""
        try:
            return _done(await self._tell(settled))
        except StorageUnavailable:
            raise
        except OtpError as error:
            failed = hopeful(await self._failure(earlier), error) if earlier is not None else error
            try:
                return _refusal(failed)
            except OtpError:
                return failed

    async def _tell(self, settled: Delivery | None) -> dict[str, Any]:
        if self._operation.later is None:
            raise TypeError("an operation that begins no delivery has none")
        return await self._operation.later.tell(
            self._service, self._caller, self._body, settled, **self._path
        )

    async def _failure(self, settled: Delivery) -> OtpError | None:
        """Why an earlier delivery came to nothing."""
        try:
            await self._tell(settled)
        except CERTAIN as error:
            return error
        return None


def _done(body: Mapping[str, Any], status: int = 200) -> Told:
    return Told(status, json_body(body).decode())


def _refusal(error: OtpError) -> Told:
    """A refusal as it is kept; one that is not is raised again."""
    status, _ = PROBLEMS[error.code]
    if status not in _KEPT and (status != HTTPStatus.CONFLICT or error.code in RETRYABLE):
        raise error
    return Told(status, cast(bytes, of_error(error).body).decode().removesuffix("\n"))


def _response(told: Told, *, replayed: bool = False) -> web.Response:
    content_type = CONTENT_TYPE if told.status >= HTTPStatus.BAD_REQUEST else "application/json"
    answer = web.Response(status=told.status, body=told.body.encode() + b"\n", content_type=content_type)
    if replayed:
        answer.headers[REPLAYED] = "true"
    return answer


def _key(request: web.Request) -> str:
    given = request.headers.getall(HEADER)
    if len(given) != 1 or _KEY.fullmatch(given[0]) is None:
        message = "must be 1 to 255 visible ASCII characters, given once"
        raise InvalidFields([{"field": HEADER, "message": message}])
    return given[0]


def _in_progress() -> IdempotencyInProgress:
    return IdempotencyInProgress("The first call with this key is not over yet.", retry_after=AGAIN_SECONDS)
