"""What the domain needs from outside, in its own words. Promises stand in the docstrings; the contract tests hold them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from otp.audit import Action, AuditLine
from otp.events import Event
from otp.membership import PeopleTx
from otp.model import (
    Caller,
    Channel,
    Code,
    CodeMessage,
    CodeSeed,
    Delivery,
    DeliveryState,
    Ending,
    Job,
    KeptCall,
    KeyClaim,
    Link,
    MessageKind,
    Mode,
    Parcel,
    Person,
    Profile,
    Project,
    Refusal,
    Request,
    RequestStatus,
    SentMessage,
    ShownCode,
    ShownQuestion,
    Subscriber,
    Told,
)
from otp.numbers import AskedNumber
from otp.reports import Counted, Listed, ProjectFacts, Sending, Trace
from otp.telling import Endpoint, Sealed, StoredNotice
from otp.values import value

T = TypeVar("T")


class Clock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC. Never goes back, and stands still for nobody: see `config.clock`."""
        ...

    def never_before(self, at: int) -> None:
        """From now on no answer of `now` is smaller than `at`."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Randomness(Protocol):
    """A cryptographically secure source."""

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        ...

    def text(self, length: int) -> str:
        """`length` characters of `[A-Za-z0-9]`, each equally likely."""
        ...

    def uuid(self) -> str:
        """A random UUID (version 4) in canonical lower-case form."""
        ...


@value
class Accepted:
    """The messenger took the message."""

    message_id: str


@value
class Refused:
    """The messenger certainly refused the message, and would again."""

    reason: Refusal
    unauthorized: bool = False
    """It refused us, not the message: it does not know the token."""


@value
class NotSent:
    """The message certainly did not arrive and may be tried again, after `retry_after_ms` if the messenger said so."""

    retry_after_ms: int = 0
    answered: bool = False
    """Whether the messenger itself said so; else it was not reached."""


@value
class Unknown:
    """Nobody knows whether the message arrived: a timeout, a dropped connection, a 5xx, an unreadable answer."""


Outcome = Accepted | Refused | NotSent | Unknown


class Messenger(Protocol):
    """One channel's way to hand over a code."""

    async def hand_over(self, parcel: Parcel, timeout_ms: int) -> Outcome:
        """Make exactly one attempt, within `timeout_ms`. Never raises for what the messenger or the network does."""
        ...


class Seals(Protocol):
    """Keeps secrets that must be stored."""

    def seal(self, secret: bytes, owner: str) -> Sealed:
        """A secret as it can be stored, for nobody but `owner`."""
        ...

    def open(self, sealed: Sealed, owner: str) -> bytes | None:
        """The secret again; None when its key is no longer listed, or it is not that owner's."""
        ...

    @property
    def current(self) -> str:
        """The id of the key that seals now."""
        ...

    def is_current(self, sealed: Sealed) -> bool:
        """Whether it is sealed under the key that seals now."""
        ...


@value
class Reply:
    """What came of telling an endpoint something."""

    status: int | None
    """Its HTTP status, if it answered."""
    why: str = ""
    """Else what was in the way, in a word."""
    retry_after_ms: int = 0
    """How long it asked us to wait."""

    @property
    def told(self) -> str:
        """In a word."""
        return str(self.status) if self.status is not None else self.why


class Post(Protocol):
    """The way to endpoints."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One attempt, soon over. Never raises for what the endpoint or the network does."""
        ...


class Tx(PeopleTx, Protocol):
    """One transaction. What it returns was true at `now`; what it changes is there after the commit or not at all.

    `now` never goes back, but may go on when a lock was waited for: what is locked is judged by the time of its lock.

    Methods that say "guarded" change nothing and return a falsy value when the row is not in the state they name:
    the affected row is the decision.
    """

    now: int

    def emit(self, event: Event) -> None:
        """Note what changed; its jobs are written by this transaction, its listeners called after the commit."""
        ...

    # ------------------------------------------------------------- projects

    async def caller(self, key_hash: bytes) -> Caller | None:
        """The project and mode of a key that is valid now, whether or not the project is enabled."""
        ...

    async def project(self, project_id: str) -> Project | None:
        """A project by its id, kept from changing until this transaction ends."""
        ...

    async def projects(self) -> list[Project]:
        """All projects, oldest first."""
        ...

    async def save_project(self, project: Project) -> None:
        """Create the project, or change the one of that id."""
        ...

    async def save_logo(self, project_id: str, digest: str, picture: bytes) -> None:
        """Keep a project's picture, by its digest, in place of the one before."""
        ...

    async def delete_logo(self, project_id: str) -> None:
        """Keep no picture of a project."""
        ...

    async def logo(self, digest: str) -> bytes | None:
        """A picture that some project has now."""
        ...

    async def delete_project(self, project_id: str) -> bool:
        """Guarded: from now on there is no such project, and no key of it; its rows are still to be erased."""
        ...

    async def erase_project(self, project_id: str, limit: int) -> bool:
        """Erase up to `limit` rows of each kind of a deleted project, the project last; True while there is more."""
        ...

    async def add_key(self, project_id: str, mode: Mode, key_hash: bytes) -> None:
        """Let a key act for a project. A key that is there already belongs to this project from now on, without an end."""
        ...

    async def end_keys(self, project_id: str, mode: Mode, at: int, *, but: bytes) -> None:
        """All keys of the project and mode but one end at `at`, or earlier where that was said before."""
        ...

    # --------------------------------------------------------------- people

    async def alone(self, person: Person) -> None:
        """Whatever else this person does waits until this transaction ends."""
        ...

    async def first_sight(self, update_key: str) -> bool:
        """Whether this update was never seen before; from now on it was."""
        ...

    async def see(self, person: Person, language: str) -> None:
        """Remember the language that a subscriber's client uses now."""
        ...

    async def choose_language(self, person: Person, language: str) -> None:
        """Remember the language that a person chose, for good."""
        ...

    async def chosen_language(self, person: Person) -> str | None:
        """The language that a person chose."""
        ...

    # ---------------------------------------------------------- subscribers

    async def subscriber(self, project_id: str, mode: Mode, subscriber_id: str) -> Subscriber | None:
        """A project's own subscriber, locked against other transactions until this one ends."""
        ...

    async def subscriber_by_id(self, subscriber_id: str) -> Subscriber | None:
        """A subscriber, whosever it is; locked likewise. For what comes from the chat or from our own rows."""
        ...

    async def subscriber_of(self, project_id: str, mode: Mode, person: Person) -> Subscriber | None:
        """This person's relation to a project; locked likewise."""
        ...

    async def subscriptions(self, person: Person) -> list[tuple[Subscriber, Project]]:
        """What a person has subscribed to, by project name."""
        ...

    async def add_subscriber(self, subscriber: Subscriber) -> None:
        """Create a subscriber who consented now."""
        ...

    async def set_subscribed(self, subscriber_id: str, subscribed: bool) -> bool:
        """Guarded: join again or leave; False when that was so already."""
        ...

    async def count_wrong_guess(self, subscriber_id: str) -> int:
        """One more wrong code in a row; the new number."""
        ...

    async def clear_guesses(self, subscriber_id: str) -> None:
        """The row of wrong codes is broken: the count is 0 and a lock is open."""
        ...

    async def lock(self, subscriber_id: str) -> bool:
        """Guarded: from open to locked."""
        ...

    async def refuse(self, person: Person, project_id: str, mode: Mode, *, refused: bool = True) -> None:
        """Note that a person wants nothing from a project any more, or does again."""
        ...

    async def refuses(self, person: Person, project_id: str, mode: Mode) -> bool:
        """Whether the person wants nothing from the project."""
        ...

    # ------------------------------------------------------------- accounts

    async def links(self, project_id: str, mode: Mode, external_id: str) -> list[Link]:
        """By whom an account is reached, the one used last first."""
        ...

    async def lock_account(self, project_id: str, mode: Mode, external_id: str) -> None:
        """Whoever else links or reaches this account waits until this transaction ends."""
        ...

    async def lock_accounts(self, subscriber_id: str) -> bool:
        """The same for all accounts of a subscriber, who is locked; False when there are none."""
        ...

    async def link(self, subscriber: Subscriber, external_id: str) -> None:
        """Let an account be reached by this subscriber in their channel, instead of whoever was there; used now."""
        ...

    async def note_used(self, subscriber_id: str) -> None:
        """Whatever accounts this subscriber has were reached by them now."""
        ...

    async def end_shared_codes(self, subscriber_id: str, ending: Ending) -> None:
        """End the codes of those who share an account with a subscriber, of whom one for the same purpose lives."""
        ...

    async def account_of(self, request_id: str) -> str | None:
        """For which account a request's code is; it never changes, so nothing is locked."""
        ...

    async def profile(self, project_id: str, mode: Mode, subscriber_id: str) -> Profile | None:
        """What may be told of a project's own subscriber."""
        ...

    async def pending_of(self, subscriber_id: str) -> list[str]:
        """The ids of the pending requests for which something was claimed for a subscriber, in order."""
        ...

    async def erase_subscriber(self, subscriber: Subscriber) -> None:
        """Remove a subscriber who has left, and all rows about them; what requests came to stays without the person.

        With a person's last subscription the language goes that they chose.
        Code messages on the screen that tell no end yet are still to be closed, by jobs that hold all they need.
        """
        ...

    async def close_stray(self, message: ShownCode, subscriber: Subscriber) -> None:
        """Plan that a code message tells that its code is over, though no row knows of it, or of its subscriber."""
        ...

    # ---------------------------------------------------------------- phone numbers

    async def ask_number(self, request_id: str, subscriber: Subscriber) -> None:
        """A person is to be asked for their number for this request."""
        ...

    async def show_number(self, request_id: str, person: Person) -> None:
        """The question goes out: its keyboard takes the place of another one that this person has."""
        ...

    async def hide_number(self, request_id: str) -> None:
        """The question did not go out."""
        ...

    async def asked_number(self, request_id: str) -> AskedNumber | None:
        """The question of a request, while it is not over."""
        ...

    async def numbers_of(self, subscriber_id: str) -> list[AskedNumber]:
        """A subscriber's questions that are not over, answered ones too."""
        ...

    async def newest_number(self, person: Person) -> AskedNumber | None:
        """The newest question that went out to this person and is not over, an open one before any other."""
        ...

    async def share_number(self, request_id: str, number: Sealed) -> bool:
        """Guarded: the answer to a question that is open."""
        ...

    async def take_number(self, request_id: str) -> Sealed | None:
        """Guarded: the answer, which is erased; for one caller only."""
        ...

    async def end_number(self, request_id: str) -> None:
        """The question is over, and an answer that nobody took is erased."""
        ...

    async def keep_number(self, subscriber_id: str, number: Sealed) -> None:
        """Keep a subscriber's number, in place of the one before."""
        ...

    async def kept_number(self, subscriber_id: str) -> Sealed | None:
        """The number that is kept of a subscriber."""
        ...

    async def drop_numbers(self, subscriber_id: str) -> None:
        """Erase a subscriber's questions and numbers."""
        ...

    async def drop_kept_numbers(self, project_id: str) -> None:
        """Erase the numbers that were kept for a project."""
        ...

    async def drop_asked_numbers(self) -> None:
        """Erase every question and what was answered: for a copy, which lives longer than a request."""
        ...

    async def stale_numbers(self, key_id: str, after: str, limit: int) -> list[tuple[str, Sealed]]:
        """Kept numbers that are sealed under any other key, of subscribers with an id above `after`, in order."""
        ...

    async def reseal_number(self, subscriber_id: str, before: Sealed, number: Sealed) -> bool:
        """Guarded: the same kept number under another key, unless it was changed since."""
        ...

    # ---------------------------------------------------------------- codes

    async def code(self, subscriber_id: str, purpose: str) -> Code | None:
        """The active code, if it is alive now."""
        ...

    async def put_code(self, code: Code) -> None:
        """Make this the only active code of its subscriber and purpose."""
        ...

    async def count_attempt(self, code_id: str) -> int | None:
        """Guarded: one more attempt at a code that is alive and has one left; the number of attempts made by now."""
        ...

    async def consume(self, code_id: str, ending: Ending) -> bool:
        """Guarded: end an active code; True for one caller only.

        Whatever ends a code plans the job that tells it in the code's messages.
        """
        ...

    async def kill_codes(self, subscriber_id: str, ending: Ending) -> None:
        """End all active codes of a subscriber."""
        ...

    async def kill_project_codes(self, project_id: str, ending: Ending) -> None:
        """End all active codes of a project."""
        ...

    async def revoke_codes(self) -> int:
        """End every code that lives, and every one under way; how many. For a copy that leaves its place, or one put back.

        What was claimed is not sent any more; what is being attempted arrives dead.
        """
        ...

    async def code_by_id(self, code_id: str) -> Code | None:
        """An active code that is alive now, by its id."""
        ...

    async def code_end(self, code_id: str) -> int | None:
        """When an active code will die, None when it has ended."""
        ...

    async def purposes_alive(self, subscriber_id: str) -> set[str]:
        """Purposes with an active code or with a delivery under way."""
        ...

    # ------------------------------------------------------------- requests

    async def add_request(self, request: Request) -> None:
        """Store a new request."""
        ...

    async def request(self, request_id: str) -> Request | None:
        """A request, locked against other transactions until this one ends."""
        ...

    async def request_by_pairing(self, pairing_code: str) -> str | None:
        """The id of the pending request of a pairing code, while its link lives."""
        ...

    async def miss_pairing(self, miss_id: str, person: Person) -> None:
        """Note that a person typed a pairing code that is none."""
        ...

    async def pairing_misses(self, person: Person, since: int) -> list[int]:
        """When a person typed wrong pairing codes."""
        ...

    async def bind(self, request_id: str, person: Person) -> bool:
        """Guarded: tie a pending request to the person, unless it is tied to another one."""
        ...

    async def finish(self, request_id: str, status: RequestStatus, subscriber_id: str | None = None) -> bool:
        """Guarded: end a pending request."""
        ...

    async def note_opened(self, request_id: str, channel: Channel) -> None:
        """Note that somebody opened the request in a messenger, if there is one and nobody did before."""
        ...

    async def report(self, request_id: str) -> None:
        """Note that the person said it was not them."""
        ...

    async def note_verified(self, request_id: str) -> None:
        """Note that a code of the request was accepted now."""
        ...

    async def overdue_requests(self, limit: int) -> list[Request]:
        """Pending requests whose end has passed and that no delivery keeps pending any longer."""
        ...

    # ----------------------------------------------------------- deliveries

    async def claim(self, delivery: Delivery) -> bool:
        """Guarded: store a claimed delivery, unless one is under way for the same subscriber and purpose."""
        ...

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """A delivery, locked against other transactions until this one ends, and its request and subscriber with it."""
        ...

    async def under_way(self, subscriber_id: str, purpose: str) -> Delivery | None:
        """The delivery of this subscriber and purpose that is claimed or attempting."""
        ...

    async def request_deliveries(self, request_id: str) -> list[Delivery]:
        """All deliveries of a request, oldest first."""
        ...

    async def step(
        self,
        delivery_id: str,
        before: DeliveryState,
        after: DeliveryState,
        *,
        due_at: int | None = None,
        refusal: Refusal | None = None,
    ) -> bool:
        """Guarded: move a delivery along `otp.lifecycle.DELIVERY_STEPS`; any other step changes nothing.

        A step to `attempting` counts a try and notes its time; a final one notes the time of the outcome.
        """
        ...

    async def reseed(self, delivery_id: str, seed: CodeSeed, code_id: str) -> None:
        """Let a claimed delivery carry a new code in place of one that died before its attempt."""
        ...

    async def spent(self, subscriber_id: str, *, by_tap: bool, since: int) -> list[int]:
        """Times of the messages to a subscriber that count against the send limit (`otp.lifecycle.SPENT`).

        What is still under way counts as of now.
        """
        ...

    async def stranded(self, claimed_before: int, attempting_before: int, limit: int) -> list[Delivery]:
        """Deliveries that were due, or being attempted, before these times and have no outcome."""
        ...

    async def waiting_since(self) -> int | None:
        """When the one that waits the longest for its outcome was claimed."""
        ...

    async def claimed_for(self, subscriber_id: str) -> list[Delivery]:
        """A subscriber's deliveries before their first or next attempt."""
        ...

    # ------------------------------------------------------------- messages

    async def add_message(self, message: SentMessage, messenger_id: str | None = None) -> None:
        """Note a message of the bot, before it is sent or with the messenger's id for it."""
        ...

    async def end_messages(self, code_id: str, ending: Ending, *, but: str) -> None:
        """Plan that all messages of a code but one tell why they are over."""
        ...

    async def code_message(self, code_id: str, person: Person) -> CodeMessage | None:
        """What a code message is about that was shown to this person; None when none was."""
        ...

    async def shown_code(self, message_id: str) -> ShownCode | None:
        """A code message that stands in a chat and was not closed yet."""
        ...

    async def end_questions(self, request_id: str, ending: Ending) -> None:
        """Plan that all messages with buttons about a request tell that it is over."""
        ...

    async def shown_question(self, message_id: str) -> ShownQuestion | None:
        """A message with buttons about a request that is over, and does not tell so yet."""
        ...

    async def close_message(self, message_id: str) -> None:
        """The message tells by now that its code has ended."""
        ...

    async def was_shown(self, request_id: str, person: Person, kinds: Sequence[MessageKind]) -> bool:
        """Whether the person was shown a message of one of these kinds about the request."""
        ...

    # ----------------------------------------------------------- calls with a key

    async def claim_call(self, claim: KeyClaim) -> KeptCall | None:
        """Claim a key, for a day; what is kept when it is somebody's, whose transaction was waited for."""
        ...

    async def kept_call(self, claim_id: str) -> KeptCall | None:
        """What is kept under a key."""
        ...

    async def keep_call(self, claim_id: str, delivery_id: str | None, told: Told | None) -> bool:
        """Guarded: keep the answer to a call, or the delivery that will tell it, while there is none and no other one."""
        ...

    async def drop_delivery(self, claim_id: str, delivery_id: str) -> bool:
        """Guarded: a claim that is not answered yet is of this delivery no more."""
        ...

    async def free_call(self, claim_id: str, delivery_id: str) -> None:
        """Give a key back that was claimed for this delivery, unless there is an answer."""
        ...

    # ------------------------------------------------------ endpoints, and what they are told

    async def add_endpoint(self, endpoint: Endpoint, most: int) -> bool:
        """Guarded: a new endpoint, unless its project has `most` in that mode already, or is gone."""
        ...

    async def endpoints(self, project_id: str, mode: Mode) -> list[Endpoint]:
        """A project's endpoints in a mode, oldest first."""
        ...

    async def every_endpoint(self) -> list[Endpoint]:
        """All endpoints of all projects."""
        ...

    async def delete_endpoint(self, endpoint_id: str) -> None:
        """From now on it is told nothing more and can't be found; the purge takes away its rows."""
        ...

    async def rotate_secret(self, endpoint_id: str, secret: Sealed, old_until: int) -> None:
        """Let a new secret sign, and the one that did until now beside it for a time."""
        ...

    async def reseal(self, before: Endpoint, secret: Sealed, old_secret: Sealed | None) -> bool:
        """Guarded: the same secrets under another key, unless they were changed since."""
        ...

    async def enable_endpoint(self, endpoint_id: str) -> None:
        """As if it had never failed."""
        ...

    async def endpoints_due(self) -> dict[str, int]:
        """When each endpoint that is told something at all is to be told something next."""
        ...

    async def take_notices(
        self, endpoint_id: str, limit: int, lease_ms: int
    ) -> tuple[Endpoint | None, list[StoredNotice]]:
        """Lease what an endpoint is to be told now: one taker each. Nothing while it or its project is switched off."""
        ...

    async def note_notice(self, notice: StoredNotice, state: str, due_at: int, result: str) -> bool:
        """Guarded: what came of a try, unless its lease ran out and somebody else took it."""
        ...

    async def note_endpoint(self, endpoint_id: str, *, works: bool) -> int | None:
        """Something arrived, or failed; since when it fails by now, None where nothing changed by that."""
        ...

    async def disable_endpoint(self, endpoint_id: str, why: str) -> bool:
        """Guarded: switch it off."""
        ...

    async def notices(
        self, endpoint_ids: Sequence[str], state: str | None, before: str | None, limit: int
    ) -> list[StoredNotice]:
        """What these endpoints were and are to be told of up to `limit` events, newest first, of ids below `before`."""
        ...

    async def told_of(self, event_id: str, endpoint_ids: Sequence[str]) -> set[str]:
        """Which of these endpoints were or are to be told of an event."""
        ...

    async def tell_again(self, event_id: str, endpoint_ids: Sequence[str], give_up_at: int) -> None:
        """Have an event told once more, from now on."""
        ...

    # ----------------------------------------------------------- what operators do

    async def record_audit(self, by: str, what: Action, subject: str | None, detail: str = "") -> None:
        """Note what an operator changes, here and now: `by` is what `otp.audit.who_acts` told before the transaction."""
        ...

    async def audit(self, since: int, limit: int) -> list[AuditLine]:
        """The last lines of the trail from `since` on, oldest first."""
        ...

    async def trace(self, request_id: str) -> Trace:
        """What is known of a request's way."""
        ...

    async def sendings(self, subscriber_id: str, since: int, limit: int) -> list[Sending]:
        """A subscriber's last deliveries that were claimed from `since` on, oldest first."""
        ...

    async def left_at(self, subscriber_id: str) -> int | None:
        """When a subscriber left who has not come back."""
        ...

    async def requests_before(
        self, open_: bool, before: Listed | None, since: int, limit: int
    ) -> list[Listed]:
        """A page of the requests that are pending, or of all others, the one that ends or ended last first.

        Those behind `before`, the last one of the page before, that end or ended at `since` or later.
        """
        ...

    async def project_facts(self, project_id: str) -> ProjectFacts | None:
        """What an operator may know of a project."""
        ...

    # ----------------------------------------------------------- how much happens

    async def add_counts(self, counts: Mapping[Counted, int]) -> None:
        """Add to what was counted before, of projects that are still there."""
        ...

    async def counts(self, day: int, project_id: str | None) -> dict[Counted, int]:
        """What was counted on a day (its first moment), of one project or (with no id) of all together."""
        ...

    # ----------------------------------------------------------- housekeeping

    async def ensure_job(self, kind: str, subject: str, due_at: int) -> None:
        """Have the job done at `due_at`, or earlier where that was planned."""
        ...

    async def take_job(self, owner: str, lease_ms: int) -> Job | None:
        """Lease the most overdue job: one statement, one taker."""
        ...

    async def next_job_at(self) -> int | None:
        """When the next job will be due."""
        ...

    async def end_job(self, job: Job, again_at: int | None, attempts: int = 0) -> None:
        """The job is done, or to be done again after so many failures; only while it is the one that was taken."""
        ...

    async def fact(self, name: str) -> str | None:
        """A remembered fact about the outside world."""
        ...

    async def remember(self, name: str, value: str | None) -> None:
        """Remember a fact, or forget it."""
        ...

    async def purge(self, limit: int) -> int:
        """Remove up to `limit` rows of each kind whose time is over, deliveries apart; how many went."""
        ...


Work = Callable[[Tx], Coroutine[Any, Any, T]]


@value
class About:
    """What an operation will look at first: a store may read it ahead, together with what others will look at."""

    subscriber_id: str = ""
    request_id: str | None = None
    project_id: str = ""


class Store(Protocol):
    """Transactions over what must survive.

    An operation awaits nothing but its transaction. It is run to its end even if its caller goes away. Failures are
    `StorageUnavailable`: the change was not made, or (a failed commit) nobody knows.
    """

    holds_up: bool
    """Whether all others wait while one operation runs."""

    async def write(self, work: Work[T], about: About | None = None) -> T:
        """Run an operation, alone among writers, and commit it to disk before returning. `about` may make it cheaper."""
        ...

    async def chore(self, work: Work[T]) -> T:
        """As `write`, for what may take long: it holds up no more than it must."""
        ...

    async def read(self, work: Work[T], about: About | None = None) -> T:
        """Run an operation that changes nothing on one consistent state. `about` may make it cheaper."""
        ...

    async def caller(self, key_hash: bytes) -> Caller | None:
        """As `Tx.caller`, by itself: every call of the API begins with it."""
        ...

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener`, which must not block or fail, with each event after its commit."""
        ...

    async def close(self) -> None:
        """Finish what runs and let go of everything."""
        ...
