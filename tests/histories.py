"""What people and sites do, as the plain model foretells it: histories of the whole are compared with it."""

from __future__ import annotations

from otp.model import Person, Refusal
from tests.foretold import GRACE, ORPHAN, Code, Flight, Messages, Request, Sub


class Model(Messages):
    """Everything that the service should know, and every answer that it should give."""

    def _barred(self, person: Person, request: Request) -> str | None:
        """Why a person can do nothing with a request."""
        if self.forgotten(request):
            return "Dead unknown"
        request.opened = True
        if request.channel not in (None, person.channel):
            return "Dead foreign"
        if not self.enabled[request.site]:
            return "Dead paused"
        self._settle_orphans(request.flights)
        status = self.status(request)
        if status in ("expired", "cancelled"):
            return f"Dead {status}"
        return "Dead used" if status == "sent" or request.bound not in (None, person) else None

    def _was_asked(self, person: Person, request: Request) -> bool:
        return person in request.questions

    # ------------------------------------------------------------------ what a person does

    def open(self, person: Person, request: Request) -> str:
        """A link is opened."""
        if barred := self._barred(person, request):
            return barred
        sub = self.subs.get((request.site, person))
        if sub is None or not sub.subscribed:
            return self._ask(request, person, "Asked")
        return self._first_code(request, sub)

    def consent(self, person: Person, request: Request) -> str:
        """The question is answered with yes."""
        if barred := self._barred_button(person, request):
            return barred
        sub = self.subs.setdefault((request.site, person), Sub(request.site, person))
        sub.subscribed = True
        return self._first_code(request, sub)

    def again(self, person: Person, request: Request) -> str:
        """ "Send again" is pressed in an offer."""
        if barred := self._barred_button(person, request):
            return barred
        sub = self.subs.get((request.site, person))
        if sub is None or not sub.subscribed:
            return self._ask(request, person, "Asked")
        code = self.code(sub, request.purpose)
        return self._code(request, sub, code if code is not None and code.request is request else None)

    def cancel(self, person: Person, request: Request) -> str:
        """The request is to end; too late while its code is at the messenger, and then nothing changes at all."""
        if barred := self._barred_button(person, request):
            return barred
        return "Cancelled" if self._cancel(request) else "TooLate"

    def _cancel(self, request: Request) -> bool:
        if any(flight.state == "attempting" for flight in request.flights):
            return False
        self._withdraw(request.flights)
        for sub in {flight.sub for flight in request.flights}:
            code = self.code(sub, request.purpose)
            if code is not None and code.request is request:
                del sub.codes[request.purpose]
        self._finish(request, "cancelled")
        return True

    def unlock(self, sub: Sub, request: Request | None) -> str:
        """Unlock is pressed, with a request that waits or without."""
        if not self.enabled[sub.site]:
            return "Dead paused"
        if sub.locked:
            sub.locked, sub.wrong = False, 0
        if (
            request is None
            or self._barred(sub.person, request)
            or request.site != sub.site
            or not sub.subscribed
        ):
            return "Unlocked"
        return self._first_code(request, sub)

    def leave(self, sub: Sub) -> str:
        """The person leaves one site."""
        self._leave(sub)
        return "Subscriptions"

    def repeat(self, flight: Flight) -> str:
        """ "Send again" is pressed under a code."""
        sub, code = flight.sub, flight.code
        if flight.code.shown is None:
            return "NotYours"
        if not self.enabled[sub.site]:
            return "Dead paused"
        if self.code(sub, flight.purpose) is not code or sub.locked or not sub.subscribed:
            return "Ended"
        asked = code.request
        waits = asked is not None and asked.status == "pending" and self.now < asked.expires
        request = asked if waits and asked is not None and asked.bound == sub.person else None
        got = self._claim(sub, flight.purpose, request, code, code, tap=True)
        return "TryLater" if got == "limit" else "Coming old"

    def not_me(self, flight: Flight) -> str:
        """ "It wasn't me" is pressed under a code."""
        if flight.code.shown is None:
            return "NotYours"
        if self.code(flight.sub, flight.purpose) is flight.code:
            del flight.sub.codes[flight.purpose]
        if flight.code.request is not None and not self.forgotten(flight.code.request):
            self._report(flight.code.request)
        return "Reported"

    def not_me_locked(self, sub: Sub, request: Request | None) -> str:
        """The same in the message about a lock."""
        sub.codes.clear()
        if request is not None and request.bound == sub.person and not self.forgotten(request):
            self._report(request)
        return "Reported"

    def _barred_button(self, person: Person, request: Request) -> str | None:
        return self._barred(person, request) if self._was_asked(person, request) else "NotYours"

    def _ask(self, request: Request, person: Person, what: str) -> str:
        request.questions[person] = self.now
        return what

    def _first_code(self, request: Request, sub: Sub) -> str:
        if any(flight.under_way for flight in request.flights):
            return "Coming old"
        if any(self._failed(flight) for flight in request.flights):
            return self._ask(request, sub.person, "Offered failed")
        return self._code(request, sub, None)

    def _code(self, request: Request, sub: Sub, reused: Code | None) -> str:
        request.bound = sub.person
        if sub.locked:
            return self._ask(request, sub.person, "MustUnlock")
        new = Code(request, request.ttl, request.most)
        got = self._claim(sub, request.purpose, request, reused or new, reused, tap=True)
        if got in ("fresh", "old"):
            return f"Coming {got}"
        return self._ask(request, sub.person, f"Offered {got}")

    def _report(self, request: Request) -> None:
        request.reported = True
        if self.status(request) != "pending":
            return
        self._withdraw(request.flights)
        if not any(flight.under_way for flight in request.flights):
            self._finish(request, "cancelled")

    # ------------------------------------------------------------------ what a site does

    def send(self, sub: Sub, purpose: str, code: Code, *, reuse: bool) -> str | Flight:
        """A code is sent: the error that refuses it at once, or the delivery that decides."""
        if not self.enabled[sub.site]:
            return "ProjectDisabled"
        if not sub.subscribed:
            return "SubscriberNotFound"
        if sub.locked:
            return "SubscriberLocked"
        living = self.code(sub, purpose) if reuse else None
        got = self._claim(sub, purpose, None, living or code, living, tap=False)
        refused = {"old": "SendInProgress", "busy": "SendInProgress", "limit": "RateLimited"}
        return refused[got] if got in refused else sub.flights[-1]

    def sent(self, flight: Flight) -> str | None:
        """What the caller of a send is told by now; None while it waits, be it that the next attempt is withdrawn."""
        told = {
            "accepted": "sent",
            "unknown": "DeliveryUnknown",
            Refusal.GONE: "SubscriberNotFound",
            Refusal.REJECTED: "DeliveryFailed",
            Refusal.UNAVAILABLE: "MessengerUnavailable",
        }
        if flight.state != Refusal.WITHDRAWN:
            return told.get(flight.state)
        if self.now < flight.due:
            return None
        if not self.enabled[flight.sub.site]:
            return "ProjectDisabled"
        return "SubscriberLocked" if flight.sub.subscribed and flight.sub.locked else "SubscriberNotFound"

    def verify(
        self, site: int, sub: Sub, digits: str, purpose: str, request: Request | None
    ) -> tuple[str, int]:
        """A guess: the reason and the attempts left; ("verified", 0) when it is right."""
        if not self.enabled[site]:
            return "ProjectDisabled", 0
        if sub.site != site:
            return "no_active_code", 0
        if sub.locked:
            return "locked", 0
        code = self.code(sub, purpose)
        if code is None or (request is not None and (code.request is not request or self.forgotten(request))):
            return "no_active_code", 0
        code.made += 1
        if digits == code.digits:
            del sub.codes[purpose]
            sub.wrong = 0
            return "verified", 0
        sub.wrong += 1
        left = min(code.most - code.made, self.budget - sub.wrong)
        if sub.wrong == self.budget:
            sub.locked = True
            sub.codes.clear()
        elif left == 0:
            del sub.codes[purpose]
        return "wrong_code", left

    def read(self, site: int, request: Request) -> str:
        """What a site reads of a request."""
        if not self.enabled[site]:
            return "ProjectDisabled"
        if request.site != site or self.forgotten(request):
            return "RequestNotFound"
        return self.status(request)

    def withdraw(self, site: int, request: Request) -> str:
        """A site cancels its request."""
        if not self.enabled[site]:
            return "ProjectDisabled"
        if request.site != site or self.forgotten(request):
            return "RequestNotFound"
        over = request.status == "pending" and self.now >= request.expires
        late = self.now >= request.expires + GRACE
        if over and (late or not any(self._in_time(flight) for flight in request.flights)):
            return "RequestNotPending"
        if request.status != "pending":
            return "cancelled" if request.status == "cancelled" else "RequestNotPending"
        self._settle_orphans(request.flights)
        return "cancelled" if self._cancel(request) else "SendInProgress"

    def _in_time(self, flight: Flight) -> bool:
        """Whether a delivery is under way, and not for so long that nobody waits for it."""
        return flight.state == "claimed" or (
            flight.state == "attempting" and self.now < flight.attempted + ORPHAN
        )

    def revoke(self, site: int, sub: Sub, purpose: str) -> str:
        """A site takes a code back."""
        if not self.enabled[site]:
            return "ProjectDisabled"
        if sub.site != site:
            return "SubscriberNotFound"
        flights = [flight for flight in sub.flights if flight.purpose == purpose]
        self._settle_orphans(flights)
        if any(flight.under_way for flight in flights):
            return "SendInProgress"
        code = self.code(sub, purpose)
        if code is not None:
            del sub.codes[purpose]
        return "revoked" if code is not None else "nothing"

    def switch(self, site: int, *, on: bool) -> None:
        """A project is enabled or disabled."""
        self.enabled[site] = on
        for (of, _), sub in self.subs.items():
            if of == site and not on:
                sub.codes.clear()
