"""What a site can ask for by its own account's name instead of a subscriber's id, and of its subscribers themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from otp.errors import (
    DeliveryFailed,
    InvalidField,
    MessengerUnavailable,
    OtpError,
    SubscriberLocked,
    SubscriberNotFound,
)
from otp.forgetting import forget
from otp.model import Caller, Channel, Code, CodeTerms, Context, Delivery, Profile, Request, Subscriber
from otp.phones import kept
from otp.policy import DEFAULT_PURPOSE, FIRST_PATIENCE_MS, MIN_ATTEMPT_MS, ORPHAN_MS, SEND_PATIENCE_MS
from otp.ports import Tx
from otp.service import OtpService, Reason, Verdict, asked
from otp.values import value

CERTAIN: Final = (SubscriberNotFound, SubscriberLocked, DeliveryFailed, MessengerUnavailable)
"""Failures after which certainly nothing was sent and the other channel may do better, the most hopeful one last."""


@value
class SentTo:
    """By whom an account was reached."""

    subscriber_id: str
    channel: Channel
    seconds: int
    reused: bool


class AccountCalls:
    """The use cases of the API that are about accounts and subscribers."""

    def __init__(self, service: OtpService) -> None:
        self._service = service
        self._store = service.store

    # ------------------------------------------------------------------ sending

    async def send(
        self,
        caller: Caller,
        external_id: str,
        terms: CodeTerms,
        context: Context | None = None,
        *,
        reuse: bool = False,
    ) -> SentTo:
        """Send a code through the channel used last; through the other one when that certainly failed, and only then.

        Each try is a delivery of its own, and both together take no longer than one. Raises what `OtpService.send` does.
        """
        first = claimed = await self.claim(caller, external_id, terms, context, reuse=reuse)
        failed: OtpError | None = None
        while True:
            settled = await self._service.outcome(claimed, rest_of(first, claimed))
            try:
                seconds, reused = await self._service.told(caller, claimed.subscriber_id, settled)
                return SentTo(claimed.subscriber_id, claimed.person.channel, seconds, reused)
            except CERTAIN as error:
                # Without a row nobody knows: it was forgotten while it was under way.
                if settled is None or failed is not None:
                    raise hopeful(failed, error) from None
                failed = error
            try:
                claimed = await self.claim(caller, external_id, terms, context, reuse=reuse, after=first)
            except CERTAIN as error:
                raise hopeful(failed, error) from None

    async def claim(
        self,
        caller: Caller,
        external_id: str,
        terms: CodeTerms,
        context: Context | None,
        *,
        reuse: bool,
        after: Delivery | None = None,
        given: str | None = None,
    ) -> Delivery:
        """Wish for a message to whoever is next: after a delivery that certainly failed, whoever is left.

        It brings a code of ours, or the site's own, which was `given`.
        """

        async def work(tx: Tx) -> Delivery:
            await asked(tx, caller, None, None)
            subs = await self._linked(tx, caller, external_id)
            await self._none_under_way(tx, subs, terms.purpose)
            left = [sub for sub in subs if after is None or sub.id != after.subscriber_id]
            until = (after.claimed_at if after is not None else tx.now) + SEND_PATIENCE_MS
            if left and until - tx.now < MIN_ATTEMPT_MS:
                raise MessengerUnavailable("There was no time left for the other messenger.", retry_after=1)
            failed: OtpError | None = None
            for sub in left:
                others = [one for one in left if one.id != sub.id and one.subscribed and not one.locked]
                patience = FIRST_PATIENCE_MS if others else until - tx.now
                try:
                    return await self._service.claim_for(
                        tx, sub, terms, context, reuse=reuse, patience_ms=patience, given=given
                    )
                except CERTAIN as error:
                    failed = hopeful(failed, error)
            nobody = "Nobody is linked to this account." if after is None else "Nobody else is linked to it."
            raise failed or SubscriberNotFound(nobody)

        return await self._store.write(work)

    async def _none_under_way(self, tx: Tx, subs: list[Subscriber], purpose: str) -> None:
        """One delivery at a time per account and purpose, like per subscriber. Raises `SendInProgress`."""
        for sub in subs:
            other = await tx.under_way(sub.id, purpose)
            # One that has had no result for too long is settled by whoever comes to its subscriber.
            if other is not None and tx.now < (other.attempted_at or tx.now) + ORPHAN_MS:
                raise self._service.in_progress(
                    other, tx.now, "Another code for this account and purpose is on its way."
                )

    async def _linked(
        self, tx: Tx, caller: Caller, external_id: str, also: str | None = None
    ) -> list[Subscriber]:
        """Those by whom an account is reached, the one used last first, all locked; `also` before them."""
        links = await tx.links(caller.project.id, caller.mode, external_id)
        ids = sorted({link.subscriber_id for link in links} | ({also} if also is not None else set()))
        found = {one: await tx.subscriber(caller.project.id, caller.mode, one) for one in ids}
        # Another person may have been linked while theirs were waited for: these are reached no more.
        links = await tx.links(caller.project.id, caller.mode, external_id)
        order = [*([also] if also is not None else []), *(link.subscriber_id for link in links)]
        return [sub for one in dict.fromkeys(order) if (sub := found.get(one)) is not None]

    # ------------------------------------------------------------------ verifying

    async def verify(
        self, caller: Caller, external_id: str, typed: str, purpose: str | None, request_id: str | None
    ) -> Verdict:
        """Judge a guess of the account's one living code; with a request for this account, of that one's code."""

        async def work(tx: Tx) -> Verdict:
            request = await asked(tx, caller, purpose, request_id)
            if request is not None and request.external_id not in (None, external_id):
                raise InvalidField("external_id", "The request of this request_id is for another account.")
            own = (
                request.subscriber_id if request is not None and request.external_id == external_id else None
            )
            subs = await self._linked(tx, caller, external_id, own)
            able = [sub for sub in subs if not await self._service.is_locked(tx, sub)]
            if subs and not able:
                return Verdict(Reason.LOCKED)
            if request_id is not None and request is None:
                return Verdict(Reason.NO_ACTIVE_CODE)
            wanted = request.terms.purpose if request else purpose or DEFAULT_PURPOSE
            for sub in able:
                code = await tx.code(sub.id, wanted)
                if code is not None and await _is_meant(tx, code, external_id, request):
                    verdict = await self._service.judge(tx, sub, code, typed, request)
                    if verdict.reason is None:
                        await tx.note_used(sub.id)
                    return verdict
            return Verdict(Reason.NO_ACTIVE_CODE)

        return self._service.counted(caller, await self._store.write(work))

    # ------------------------------------------------------------------ subscribers

    async def subscriber(self, caller: Caller, subscriber_id: str) -> Profile:
        """Who that is. Raises `SubscriberNotFound`."""
        subscriber_id, scene = self._service.meant(caller, subscriber_id)

        async def work(tx: Tx) -> Profile:
            await asked(tx, caller, None, None)
            found = await tx.profile(caller.project.id, caller.mode, subscriber_id)
            if found is None and scene is not None:
                return Profile(scene, tx.now, None)
            if found is None or not found.subscriber.subscribed:
                raise _nobody()
            return replace(found, phone=await kept(tx, self._service.rules.seals, subscriber_id))

        return await self._store.read(work)

    async def forget(self, caller: Caller, subscriber_id: str) -> None:
        """Unsubscribe and erase, one who left too. Raises `SubscriberNotFound`."""
        subscriber_id, scene = self._service.meant(caller, subscriber_id)

        async def work(tx: Tx) -> None:
            await asked(tx, caller, None, None)
            if not await forget(tx, self._service.rules, caller, subscriber_id) and scene is None:
                raise _nobody()

        await self._store.write(work)


def rest_of(first: Delivery, claimed: Delivery) -> int:
    """How long the outcome of a try may be waited for, in ms, so that all take no longer than one."""
    return max(1, SEND_PATIENCE_MS - (claimed.claimed_at - first.claimed_at))


async def _is_meant(tx: Tx, code: Code, external_id: str, request: Request | None) -> bool:
    """Whether a code is the named request's; without one, whether no request for another account brought it."""
    if request is not None:
        return code.request_id == request.id
    return code.request_id is None or await tx.account_of(code.request_id) in (None, external_id)


def hopeful(one: OtpError | None, other: OtpError) -> OtpError:
    """Of two failures the one that leaves more hope; the later one when something may have arrived."""
    if one is None or not isinstance(other, CERTAIN):
        return other
    return max(one, other, key=lambda error: [isinstance(error, kind) for kind in CERTAIN].index(True))


def _nobody() -> SubscriberNotFound:
    return SubscriberNotFound("There is no subscriber with this id.")
