"""What the operator can have done about one person, over all projects: find, unlock, forget, export. For the commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from otp import phones
from otp.audit import Action, who_acts
from otp.delivery import Rules, finish
from otp.errors import SubscriberNotFound
from otp.events import SubscriberUnlocked
from otp.forgetting import forget
from otp.membership import Kind, Membership, Record, Who
from otp.model import Caller, Ending, ForgottenBy, Person, RequestStatus, Subscriber
from otp.policy import HOUR_MS, REQUEST_GRACE_MS, REQUEST_LIFE_MS, UPDATE_KEYS_KEPT_MS
from otp.ports import Store, Tx
from otp.tasks import give_way
from otp.telling import KEPT_MS, TRIED_FOR_MS
from otp.values import value

PIECE_MS: Final = HOUR_MS
"""Rows that no index leads to are looked at so much of their time at once: nobody waits for long behind it."""
_KEPT_MS: Final[Mapping[Kind, int]] = {
    "requests": UPDATE_KEYS_KEPT_MS,
    "messages": UPDATE_KEYS_KEPT_MS,
    "answers": UPDATE_KEYS_KEPT_MS,
    "events": TRIED_FOR_MS + KEPT_MS,
}
"""What is older is over, and waits at most for the sweep."""
_AHEAD_MS: Final = REQUEST_LIFE_MS + REQUEST_GRACE_MS + 1
"""A pending request is found by its end."""


@value
class Forgotten:
    """What was erased."""

    subscribers: Sequence[Membership]
    messages: int = 0
    """Of the bot, of which nothing is known any more, beside those of subscribers."""
    requests: int = 0
    """That were bound to the person, beside those of subscribers."""
    languages: int = 0
    """That were chosen."""
    refusals: int = 0

    @property
    def anything(self) -> bool:
        """Whether there was something."""
        return any((self.subscribers, self.messages, self.requests, self.languages, self.refusals))


@value
class Kept:
    """What is kept of one person in one messenger, or the part of it that belongs to some of their subscriptions."""

    person: Person
    of_person: Mapping[str, Sequence[Record]]
    of_subscriptions: Sequence[tuple[Membership, Mapping[str, Sequence[Record]]]]
    others: Mapping[str, Sequence[Record]]
    """Requests and messages of projects that they never joined."""

    @property
    def anything(self) -> bool:
        """Whether there is something."""
        found = (*self.of_person.values(), *self.others.values())
        return bool(self.of_subscriptions) or any(found)


class People:
    """The use cases of the `subscribers` commands."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    async def find(self, who: Who) -> list[Membership]:
        """Who is meant, with what they are to which project. Raises `SubscriberNotFound`: nobody has the id."""

        async def work(tx: Tx) -> list[Membership]:
            found = await _meant(tx, who)
            if not who.everywhere:
                return found
            people = dict.fromkeys(one.subscriber.person for one in found)
            return [one for person in people for one in await tx.memberships(person)]

        return await self._store.read(work)

    def is_locked(self, sub: Subscriber) -> bool:
        """Whether too many wrong codes were entered, by the budget as it is now."""
        return sub.locked or sub.wrong_guesses >= self._rules.policy.guess_budget

    async def unlock(self, subscriber_id: str) -> bool:
        """Undo the lock of too many wrong codes, as the person's own tap does; whether there was one.

        The count begins anew, so whoever guesses has the whole budget again; no code lives again. One who is not
        locked keeps their count. Raises `SubscriberNotFound`.
        """
        by = who_acts()

        async def work(tx: Tx) -> bool:
            known = await _known(tx, subscriber_id)
            await tx.project(known.subscriber.project_id)  # locked before the subscriber, as everywhere
            sub = await tx.subscriber_by_id(subscriber_id)
            if sub is None:
                raise _nobody()
            if not self.is_locked(sub):
                return False
            # None lives under a lock, but for one whose budget was lowered since it was sent.
            await tx.kill_codes(sub.id, Ending.WITHDRAWN)
            await tx.clear_guesses(sub.id)
            tx.emit(SubscriberUnlocked(replace(sub, locked=False, wrong_guesses=0)))
            await tx.record_audit(by, Action.SUBSCRIBERS_UNLOCK, sub.id, f"project: {sub.project_id}")
            return True

        return await self._store.write(work)

    async def forget(self, who: Who, *, with_refusals: bool = False) -> Forgotten:
        """Erase those who are meant; of a whole person (`everywhere`, or by the person) all that is kept.

        One after the other, each in a transaction: cut short, the rest is erased by the same call, as those by whom a
        person was found go last. What a person wants nothing from stays their own word, unless `with_refusals`. Raises
        `SubscriberNotFound`.
        """
        found, by = await self.find(who), who_acts()
        people = _whole(who, found)
        names = await self._naming(who) if people else set()
        done = Forgotten(await self._forget_all([one for one in found if one.subscriber.id not in names], by))
        for person in people:
            done = await self._erase_traces(person, done, by, with_refusals=with_refusals)
        last = await self._forget_all([one for one in found if one.subscriber.id in names], by)
        return replace(done, subscribers=[*done.subscribers, *last])

    async def _naming(self, who: Who) -> set[str]:
        """The subscribers without whom nobody would know any more which person is meant."""
        if who.person is not None:
            return set()
        return {one.subscriber.id for one in await self._store.read(partial(_meant, who=who))}

    async def _forget_all(self, some: Sequence[Membership], by: str) -> list[Membership]:
        return [one for one in some if await self._store.write(partial(self._forget, known=one, by=by))]

    async def _forget(self, tx: Tx, known: Membership, by: str) -> bool:
        sub = known.subscriber
        project = await tx.project(sub.project_id)
        if project is None:
            return False
        if not await forget(tx, self._rules, Caller(project, sub.mode), sub.id, ForgottenBy.OPERATOR):
            return False
        await tx.record_audit(by, Action.SUBSCRIBERS_FORGET, sub.id, f"project: {project.id}")
        return True

    async def _erase_traces(
        self, person: Person, done: Forgotten, by: str, *, with_refusals: bool
    ) -> Forgotten:
        """What is kept of a person beside what goes with their subscribers that are still there."""
        requests = 0
        for one in await self._find("requests", person.address):
            requests += await self._store.write(partial(_release, request_id=str(one["id"]), person=person))
        messages = 0
        for since, until in await self._pieces("messages"):
            messages += await self._store.write(partial(_erase_messages, person=person, piece=(since, until)))

        async def rest(tx: Tx) -> int:
            detail = f"whatever was left of one person in {person.channel}"
            await tx.record_audit(by, Action.SUBSCRIBERS_FORGET, None, detail)
            return await tx.erase_person(person)

        chosen = await self._store.write(rest)
        refusals = await self._store.write(lambda tx: tx.erase_refusals(person)) if with_refusals else 0
        return replace(
            done,
            messages=done.messages + messages,
            requests=done.requests + requests,
            languages=done.languages + chosen,
            refusals=done.refusals + refusals,
        )

    async def export(self, who: Who) -> list[Kept]:
        """All that is kept of those who are meant, without secrets. Raises `SubscriberNotFound`."""
        found = await self.find(who)
        whole = _whole(who, found)
        people = whole or dict.fromkeys(one.subscriber.person for one in found)
        return [
            await self._kept(
                person, [one for one in found if one.subscriber.person == person], whole=bool(whole)
            )
            for person in people
        ]

    async def _kept(self, person: Person, found: Sequence[Membership], *, whole: bool) -> Kept:
        of_person = dict(await self._store.read(lambda tx: tx.records_of_person(person)))
        requests = await self._find("requests", person.address)
        messages = await self._find("messages", person.address)
        kept = [(one, await self._of_subscription(one, requests, messages)) for one in found]
        projects = {(one.subscriber.project_id, str(one.subscriber.mode)) for one in found}
        if not whole:
            refused = of_person["refused_projects"]
            theirs = [one for one in refused if (one["project_id"], one["mode"]) in projects]
            return Kept(person, {"refused_projects": theirs}, kept, {})
        others = {
            "requests": [one for one in requests if (one["project_id"], one["mode"]) not in projects],
            "messages": [
                one for one in messages if not any(_belongs(one, membership) for membership in found)
            ],
        }
        return Kept(person, of_person, kept, others)

    async def _of_subscription(
        self, one: Membership, requests: Sequence[Record], messages: Sequence[Record]
    ) -> Mapping[str, Sequence[Record]]:
        sub = one.subscriber
        return {
            **await self._store.read(lambda tx: tx.records_of(sub.id)),
            **await self._store.read(lambda tx: phones.shown(tx, self._rules.seals, sub.id)),
            "requests": [
                each for each in requests if (each["project_id"], each["mode"]) == (sub.project_id, sub.mode)
            ],
            "messages": [each for each in messages if _belongs(each, one)],
            "kept_answers": await self._find("answers", sub.id),
            "events": await self._find("events", sub.id),
        }

    async def _find(self, kind: Kind, whom: str) -> list[Record]:
        found: list[Record] = []
        for piece in await self._pieces(kind):
            found += await self._store.read(partial(_find, kind=kind, whom=whom, piece=piece))
            await give_way()
        return found

    async def _pieces(self, kind: Kind) -> list[tuple[int, int]]:
        now = await self._store.read(_now)
        return list(_pieces(now - _KEPT_MS[kind], now + _AHEAD_MS))


def _pieces(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """All time up to an end, of which little is before the beginning."""
    yield 0, begin
    for since in range(begin, end, PIECE_MS):
        yield since, min(since + PIECE_MS, end)


async def _now(tx: Tx) -> int:
    return tx.now


async def _find(tx: Tx, kind: Kind, whom: str, piece: tuple[int, int]) -> list[Record]:
    return await tx.find_records(kind, whom, *piece)


async def _erase_messages(tx: Tx, person: Person, piece: tuple[int, int]) -> int:
    return await tx.erase_messages(person, *piece)


async def _release(tx: Tx, request_id: str, person: Person) -> bool:
    """A request is the person's no more, and one that was pending comes to its end; False where it is no leftover."""
    request = await tx.request(request_id)
    if request is None or request.bound_to != person:
        return False
    if await tx.request_deliveries(request_id):  # it goes with its subscriber
        return False
    await finish(tx, request, RequestStatus.CANCELLED)
    await tx.unbind(request_id, person)
    return True


async def _meant(tx: Tx, who: Who) -> list[Membership]:
    if who.person is not None:
        return await tx.memberships(who.person)
    if who.external_id is not None:
        return await tx.linked_to(who.external_id, who.project_id)
    return [await _known(tx, who.subscriber_id or "")]


async def _known(tx: Tx, subscriber_id: str) -> Membership:
    found = await tx.membership(subscriber_id)
    if found is None:
        raise _nobody()
    return found


def _nobody() -> SubscriberNotFound:
    return SubscriberNotFound("there is no subscriber with this id")


def _whole(who: Who, found: Sequence[Membership]) -> list[Person]:
    """Those of whom everything is meant."""
    if who.person is not None:
        return [who.person]
    return list(dict.fromkeys(one.subscriber.person for one in found)) if who.everywhere else []


def _belongs(message: Record, one: Membership) -> bool:
    """Whether a message was about this subscription, or a request of its project."""
    sub = one.subscriber
    about = (message["project_id"], message["mode"]) == (sub.project_id, sub.mode)
    return message["subscriber_id"] == sub.id or (about and message["subscriber_id"] is None)
