"""Sessions in this process, named by a cookie. With more than one process, keep them in your database or Redis instead."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SIGNED_IN_SECONDS = 12 * 3600
ANONYMOUS_SECONDS = 20 * 60
"""From the page, and again from each request for a code: the 15 minutes of its links, and the 5 of the code."""
MOST = 100_000
"""Of each kind. Anybody can begin anonymous ones, so these push out one another and nobody who is signed in."""


@dataclass
class Session:
    """What the site knows of one browser. The browser itself holds nothing but the session's name."""

    ends: float = 0.0
    csrf_token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    request_id: str | None = None
    """Of the code that this browser asked for: no other browser can finish with it."""
    shown: dict[str, Any] = field(default_factory=dict)
    """The links, for a page that is loaded again; `asked` counts the requests, so that a page knows its own."""
    wait: asyncio.Task[Any] | None = None
    """For the request's change: one, however many pages of this browser wait."""
    subscriber_id: str | None = None
    """Who is signed in."""


class Sessions:
    """Sessions by their name, which is 256 random bits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._anonymous: dict[str, Session] = {}
        self._signed_in: dict[str, Session] = {}

    def find(self, name: str | None) -> Session | None:
        """The session of that name, unless it has ended."""
        session = self._signed_in.get(name or "") or self._anonymous.get(name or "")
        return session if session is not None and session.ends > self._clock() else None

    def begin(self, subscriber_id: str | None = None) -> tuple[str, Session]:
        """A new session with a name that nobody has seen before."""
        now = self._clock()
        kind = self._anonymous if subscriber_id is None else self._signed_in
        if len(kind) >= self._most:
            for ended in [name for name, one in kind.items() if one.ends <= now]:
                del kind[ended]
        while len(kind) >= self._most:
            del kind[next(iter(kind))]  # the oldest
        name, lives = (
            secrets.token_urlsafe(32),
            ANONYMOUS_SECONDS if subscriber_id is None else SIGNED_IN_SECONDS,
        )
        kind[name] = session = Session(now + lives, subscriber_id=subscriber_id)
        return name, session

    def renew(self, session: Session) -> None:
        """Let an anonymous session live as long as the code that it asks for now."""
        session.ends = max(session.ends, self._clock() + ANONYMOUS_SECONDS)

    def end(self, name: str | None) -> None:
        """Forget a session."""
        for kind in (self._anonymous, self._signed_in):
            kind.pop(name or "", None)
