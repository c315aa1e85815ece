"""Carries out replies after the acknowledgement, as best it can: one lost in a crash is given again at the next act."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bot import phrases
from bot.messenger import Answer, Reply, Say, Skin
from bot.texts import texts_for
from otp.model import Channel, Parcel, Person
from otp.policy import ATTEMPT_TIMEOUT_MS, MINUTE_MS
from otp.ports import Accepted, Clock, Outcome, Store
from otp.tasks import Tasks

MOST_PEOPLE: Final = 20_000
"""People whose last minute is remembered."""
WAITING: Final = 500
"""Replies of one messenger under way; above it new ones are dropped, never the codes."""
TURNS: Final = 3
AT_ONCE: Final = 50
"""Calls of one messenger for replies that may be open at once."""


class ReplyLimit:
    """`REPLIES_PER_MINUTE` for each person, in a sliding minute. In the process: it guards the machine, not an account."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._spoken: OrderedDict[Person, deque[int]] = OrderedDict()

    def allows(self, person: Person) -> bool:
        """Whether one more sentence to the person is within the limit."""
        times = self._spoken.get(person)
        if times is None:
            return True
        while times and times[0] <= self._clock.now() - MINUTE_MS:
            times.popleft()
        return len(times) < self._per_minute

    def take(self, person: Person) -> bool:
        """Count one more sentence, if it is within the limit."""
        if not self.allows(person):
            return False
        self._spoken.setdefault(person, deque()).append(self._clock.now())
        self._spoken.move_to_end(person)
        if len(self._spoken) > MOST_PEOPLE:
            self._spoken.popitem(last=False)
        return True


class Replies:
    """Sends, edits and answers in the background."""

    def __init__(
        self,
        skins: Mapping[Channel, Skin],
        store: Store,
        limit: ReplyLimit,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._skins = skins
        self._store = store
        self._limit = limit
        self._tasks = {channel: Tasks(failed, WAITING) for channel in skins}
        self._gates = {channel: asyncio.Semaphore(AT_ONCE) for channel in skins}

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return all(tasks.idle for tasks in self._tasks.values())

    def give(self, replies: Sequence[Reply]) -> None:
        """Begin with each reply; return at once."""
        for reply in replies:
            person = reply.note.person if isinstance(reply, Say) else reply.pressed.update.person
            if person.channel not in self._skins:
                continue
            if not isinstance(reply, Say):
                self._tasks[person.channel].start(self._answer(reply))
            elif not reply.counts or self._limit.take(person):
                self._tasks[person.channel].start(self._say(reply))

    async def _say(self, reply: Say) -> None:
        await _after_codes()
        person = reply.note.person
        async with self._gates[person.channel]:
            outcome = await self._skins[person.channel].send(
                person.user_id, reply.message, ATTEMPT_TIMEOUT_MS
            )
        if isinstance(outcome, Accepted):
            message_id = outcome.message_id
            await self._store.write(lambda tx: tx.add_message(reply.note, message_id))

    async def _answer(self, reply: Answer) -> None:
        await _after_codes()
        pressed, channel = reply.pressed, reply.pressed.update.person.channel
        async with self._gates[channel]:
            await self._skins[channel].answer(pressed, reply.popup, reply.message)
        note, message_id = reply.note, pressed.message_id
        if note is not None and message_id is not None:
            await self._store.write(lambda tx: tx.add_message(note, message_id))

    async def close(self, seconds: float) -> None:
        """Let what was begun end."""
        await asyncio.gather(*(tasks.drain(seconds) for tasks in self._tasks.values()))


async def _after_codes() -> None:
    """Let the codes of the same taps go first: it takes them so many turns of the loop to be on their way."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class CodeMessenger:
    """The domain's `Messenger` for one channel: renders a parcel and makes one attempt."""

    def __init__(self, skin: Skin) -> None:
        self._skin = skin

    async def hand_over(self, parcel: Parcel, timeout_ms: int) -> Outcome:
        message = phrases.code(texts_for(parcel.language), parcel)
        return await self._skin.send(parcel.delivery.person.user_id, message, timeout_ms)
