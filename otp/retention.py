"""People with whom nothing has been for long are forgotten: a walk over all, once a day, a few at a time. For the sweep."""

from __future__ import annotations

from typing import Final

from otp.delivery import Rules
from otp.forgetting import forget
from otp.membership import Membership
from otp.model import Caller, ForgottenBy
from otp.policy import DAY_MS
from otp.ports import Tx
from otp.values import value

WALK: Final = "retention"
"""The fact that says when the next walk begins, and whose id it came to."""
MOST_FORGOTTEN: Final = 50
"""In one transaction: each takes a dozen statements."""


@value
class Retention:
    """What the operator's `RETENTION_DAYS` asks for."""

    rules: Rules
    days: int

    async def step(self, tx: Tx, rows: int) -> int:
        """Look at the next so many subscribers, and forget those whose time is over; how many there were.

        Whoever takes a step goes on where the last one ended, in whatever process. With fewer than `rows` the walk is
        over until tomorrow.
        """
        at, _, after = (await tx.fact(WALK) or "0").partition(" ")
        if tx.now < int(at):
            return 0
        before, forgotten, last = tx.now - self.days * DAY_MS, 0, after
        found = await tx.memberships_after(after, rows)
        for one in found:
            if forgotten == MOST_FORGOTTEN:
                break
            last = one.subscriber.id
            if one.quiet_since is None:
                await tx.begin_activity(last)
            elif one.quiet_since <= before:
                forgotten += await self._forget(tx, one, before)
        more = len(found) == rows or last != (found[-1].subscriber.id if found else after)
        if not more:
            await tx.purge_languages(before)
        await tx.remember(WALK, f"{at} {last}" if more else f"{tx.now + DAY_MS}")
        return rows if more else 0

    async def _forget(self, tx: Tx, found: Membership, before: int) -> bool:
        """Unless something lives, or came between; nobody escapes a lock by waiting."""
        known = found.subscriber
        project = await tx.project(known.project_id)
        if project is None or await tx.pending_of(known.id):
            return False
        sub = await tx.subscriber(project.id, known.mode, known.id)
        if sub is None or sub.locked or sub.wrong_guesses >= self.rules.policy.guess_budget:
            return False
        now_known = await tx.membership(sub.id)
        if now_known is None or now_known.quiet_since is None or now_known.quiet_since > before:
            return False
        if await tx.purposes_alive(sub.id):
            return False
        return await forget(tx, self.rules, Caller(project, sub.mode), sub.id, ForgottenBy.RETENTION)
