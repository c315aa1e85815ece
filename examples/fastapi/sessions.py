"""Sessions in this process, named by a cookie. With more than one process, keep them in your database or Redis instead."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

COOKIE = "session"
SECONDS = 12 * 3600
MOST = 100_000


@dataclass
class Session:
    """What the site knows of one browser. The browser itself holds nothing but the session's name."""

    csrf_token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    ends: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    request_id: str | None = None
    """Of the code that this browser asked for: no other browser can finish with it."""
    shown: dict[str, str | int | None] = field(default_factory=dict)
    """The links, for a page that is loaded again."""
    subscriber_id: str | None = None
    """Who is signed in."""


class Sessions:
    """Sessions by their name, which is 256 random bits."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def find(self, name: str | None) -> Session | None:
        """The session of that name, unless it has ended."""
        session = self._sessions.get(name or "")
        return session if session is not None and session.ends > time.monotonic() else None

    def begin(self, subscriber_id: str | None = None) -> tuple[str, Session]:
        """A new session with a name that nobody has seen before."""
        now = time.monotonic()
        if len(self._sessions) >= MOST:
            self._sessions = {name: one for name, one in self._sessions.items() if one.ends > now}
        while len(self._sessions) >= MOST:
            del self._sessions[next(iter(self._sessions))]  # the oldest
        name, session = secrets.token_urlsafe(32), Session(subscriber_id=subscriber_id)
        self._sessions[name] = session
        return name, session

    def end(self, name: str | None) -> None:
        """Forget a session."""
        self._sessions.pop(name or "", None)
