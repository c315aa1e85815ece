"""The domain's transaction in SQL that SQLite and PostgreSQL both understand.

A dialect gives `rows`; everything that decides something stands here once, as one readable statement. Parameters are
`$1`, `$2`, …; a statement that changes something returns the rows it changed, and those rows are the decision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from otp.audit import AUDIT_KEPT_MS
from otp.events import Event, MessageOver, jobs_of
from otp.lifecycle import DELIVERY_STEPS, REQUEST_STEPS
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
    MessageKind,
    Mode,
    Person,
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
from otp.policy import (
    CALL_KEYS_KEPT_MS,
    HOUR_MS,
    REQUEST_GRACE_MS,
    REQUEST_KEPT_MS,
    REQUEST_LIFE_MS,
    UNOPENED_KEPT_MS,
    UPDATE_KEYS_KEPT_MS,
)
from storage import outbox, rows, stats
from storage.accounts import AccountsTx
from storage.audit import AuditTx
from storage.outbox import OutboxTx
from storage.people import PeopleTx
from storage.phones import PhonesTx
from storage.reports import ReportsTx
from storage.rows import CODE, DELIVERY, JOB, PROJECT, REQUEST, SUBSCRIBER, Row
from storage.stats import StatsTx

_JOBS_AT_ONCE = 200
UNDER_WAY = "state IN ('claimed', 'attempting')"
CALLER = (
    f"SELECT {PROJECT}, mode FROM api_keys k JOIN projects p ON p.id = k.project_id "
    "WHERE k.hash = {hash} AND p.deleted = 0 AND (k.ends_at IS NULL OR k.ends_at > {now})"
)


class SqlTx(AccountsTx, AuditTx, OutboxTx, PeopleTx, PhonesTx, ReportsTx, StatsTx, ABC):
    """One transaction; see `otp.ports.Tx` for what each method promises."""

    LOCKED: ClassVar[str]
    """What a SELECT adds to lock its rows until the transaction ends."""
    SHARED: ClassVar[str]
    """The same, beside others who only want the rows to stay as they are."""
    SKIP_LOCKED: ClassVar[str]
    """As `LOCKED`, passing over rows that others hold."""
    IN_ORDER: ClassVar[str]
    """What the index of a project's requests is ordered by."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.events: list[Event] = []

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        """Run one statement and fetch all that it returns."""

    @abstractmethod
    async def _lock_around(self, delivery_id: str) -> None:
        """Lock what a delivery belongs to, in the order of all locks: project, request, subscriber, delivery."""

    async def _one(self, sql: str, *values: Any) -> Row | None:
        found = await self.rows(sql, *values)
        return found[0] if found else None

    async def _did(self, sql: str, *values: Any) -> bool:
        return bool(await self.rows(sql, *values))

    def emit(self, event: Event) -> None:
        self.events.append(event)

    async def write_jobs(self) -> None:
        """Before the commit: the jobs that belong to what changed, many at once, and what endpoints are told of it."""
        wanted = list(dict.fromkeys(job for event in self.events for job in jobs_of(event)))
        for start in range(0, len(wanted), _JOBS_AT_ONCE):
            some = wanted[start : start + _JOBS_AT_ONCE]
            await self._plan([(kind, subject, self.now) for kind, subject in some])
        await self.write_notices()

    # ------------------------------------------------------------- projects

    async def caller(self, key_hash: bytes) -> Caller | None:
        row = await self._one(CALLER.format(hash="$1", now="$2"), key_hash, self.now)
        return rows.caller(row) if row else None

    async def project(self, project_id: str) -> Project | None:
        row = await self._one(
            f"SELECT {PROJECT} FROM projects WHERE id = $1 AND deleted = 0 {self.SHARED}", project_id
        )
        return rows.project(row) if row else None

    async def projects(self) -> list[Project]:
        found = await self.rows(f"SELECT {PROJECT} FROM projects WHERE deleted = 0 ORDER BY created_at, id")
        return [rows.project(row) for row in found]

    async def _lock_project(self, project_id: str) -> None:
        """Wait for those who act for the project as it was."""
        await self.rows(f"SELECT id FROM projects WHERE id = $1 {self.LOCKED}", project_id)

    async def save_project(self, project: Project) -> None:
        await self._lock_project(project.id)
        await self.rows(
            "INSERT INTO projects (id, name, description, enabled, created_at, site_url, texts, page, "
            "keep_phone) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE "
            "SET name = $2, description = $3, enabled = $4, site_url = $6, texts = $7, page = $8, keep_phone = $9",
            project.id,
            project.name,
            project.description,
            int(project.enabled),
            self.now,
            project.site_url,
            rows.texts_text(project),
            rows.site_page_text(project.page),
            int(project.keep_phone),
        )

    async def save_logo(self, project_id: str, digest: str, picture: bytes) -> None:
        await self.rows(
            "INSERT INTO logos (project_id, digest, picture) VALUES ($1, $2, $3) "
            "ON CONFLICT (project_id) DO UPDATE SET digest = $2, picture = $3",
            project_id,
            digest,
            picture,
        )

    async def delete_logo(self, project_id: str) -> None:
        await self.rows("DELETE FROM logos WHERE project_id = $1", project_id)

    async def logo(self, digest: str) -> bytes | None:
        row = await self._one("SELECT picture FROM logos WHERE digest = $1 LIMIT 1", digest)
        return bytes(row["picture"]) if row else None

    async def delete_project(self, project_id: str) -> bool:
        await self._lock_project(project_id)
        await self.rows("DELETE FROM api_keys WHERE project_id = $1", project_id)
        await self.rows("UPDATE endpoints SET deleted_at = $2 WHERE project_id = $1", project_id, self.now)
        await self.delete_logo(project_id)
        return await self._did(
            "UPDATE projects SET deleted = 1, enabled = 0, name = '', description = '', site_url = NULL, texts = NULL, "
            "page = NULL WHERE id = $1 AND deleted = 0 RETURNING id",
            project_id,
        )

    async def erase_project(self, project_id: str, limit: int) -> bool:
        await self._lock_project(project_id)  # one after the other: a batch that found little is the last one
        if not await self._did("SELECT 1 AS yes FROM projects WHERE id = $1 AND deleted = 1", project_id):
            return False
        wanted = [sql.format(order=self.IN_ORDER) for sql in _OF_PROJECT]
        gone = [len(await self.rows(f"{sql} RETURNING 1", project_id, limit)) for sql in wanted]
        if max(gone) >= limit:
            return True
        await self.rows("DELETE FROM projects WHERE id = $1", project_id)
        return False

    async def add_key(self, project_id: str, mode: Mode, key_hash: bytes) -> None:
        await self._lock_project(project_id)  # who ends the other keys must see them all
        await self.rows(
            "INSERT INTO api_keys (hash, project_id, mode, created_at, ends_at) VALUES ($1, $2, $3, $4, NULL) "
            "ON CONFLICT (hash) DO UPDATE SET project_id = $2, mode = $3, ends_at = NULL",
            key_hash,
            project_id,
            mode,
            self.now,
        )

    async def end_keys(self, project_id: str, mode: Mode, at: int, *, but: bytes) -> None:
        await self.rows(
            "UPDATE api_keys SET ends_at = $2 WHERE project_id = $1 AND mode = $4 AND hash <> $3 "
            "AND (ends_at IS NULL OR ends_at > $2)",
            project_id,
            at,
            but,
            mode,
        )

    # --------------------------------------------------------------- people

    @abstractmethod
    async def alone(self, person: Person) -> None: ...

    async def first_sight(self, update_key: str) -> bool:
        return await self._did(
            "INSERT INTO updates (key, seen_at) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING RETURNING key",
            update_key,
            self.now,
        )

    async def see(self, person: Person, language: str) -> None:
        if not language:
            return
        await self.rows(
            "UPDATE subscribers SET language = $2 WHERE address = $1 AND language <> $2",
            person.address,
            language,
        )

    async def choose_language(self, person: Person, language: str) -> None:
        await self.rows(
            "INSERT INTO people (address, language, chosen_at) VALUES ($1, $2, $3) "
            "ON CONFLICT (address) DO UPDATE SET language = $2, chosen_at = $3",
            person.address,
            language,
            self.now,
        )
        await self.see(person, language)

    async def chosen_language(self, person: Person) -> str | None:
        row = await self._one("SELECT language FROM people WHERE address = $1", person.address)
        return str(row["language"]) if row else None

    # ---------------------------------------------------------- subscribers

    async def subscriber(self, project_id: str, mode: Mode, subscriber_id: str) -> Subscriber | None:
        row = await self._one(
            f"SELECT {SUBSCRIBER} FROM subscribers WHERE id = $1 AND project_id = $2 AND mode = $3 {self.LOCKED}",
            subscriber_id,
            project_id,
            mode,
        )
        return rows.subscriber(row) if row else None

    async def subscriber_by_id(self, subscriber_id: str) -> Subscriber | None:
        row = await self._one(
            f"SELECT {SUBSCRIBER} FROM subscribers WHERE id = $1 {self.LOCKED}", subscriber_id
        )
        return rows.subscriber(row) if row else None

    async def subscriber_of(self, project_id: str, mode: Mode, person: Person) -> Subscriber | None:
        row = await self._one(
            f"SELECT {SUBSCRIBER} FROM subscribers WHERE address = $1 AND project_id = $2 AND mode = $3 {self.LOCKED}",
            person.address,
            project_id,
            mode,
        )
        return rows.subscriber(row) if row else None

    async def subscriptions(self, person: Person) -> list[tuple[Subscriber, Project]]:
        subs = await self.rows(
            f"SELECT {SUBSCRIBER} FROM subscribers WHERE address = $1 AND subscribed = 1 ORDER BY id {self.LOCKED}",
            person.address,
        )
        found = [(rows.subscriber(row), await self.project(row["project_id"])) for row in subs]
        both = [(sub, project) for sub, project in found if project is not None]
        return sorted(both, key=lambda pair: (pair[1].name, pair[0].id))

    async def add_subscriber(self, subscriber: Subscriber) -> None:
        await self.rows(
            "INSERT INTO subscribers (id, project_id, mode, address, language, subscribed, consented_at, wrong_guesses, "
            "locked, active_at) VALUES ($1, $2, $3, $4, $5, 1, $6, 0, 0, $6)",
            subscriber.id,
            subscriber.project_id,
            subscriber.mode,
            subscriber.person.address,
            subscriber.language,
            self.now,
        )

    async def set_subscribed(self, subscriber_id: str, subscribed: bool) -> bool:
        if subscribed:
            return await self._did(
                "UPDATE subscribers SET subscribed = 1, consented_at = $2, left_at = NULL "
                "WHERE id = $1 AND subscribed = 0 RETURNING id",
                subscriber_id,
                self.now,
            )
        return await self._did(
            "UPDATE subscribers SET subscribed = 0, left_at = $2 WHERE id = $1 AND subscribed = 1 RETURNING id",
            subscriber_id,
            self.now,
        )

    async def count_wrong_guess(self, subscriber_id: str) -> int:
        row = await self._one(
            "UPDATE subscribers SET wrong_guesses = wrong_guesses + 1 WHERE id = $1 RETURNING wrong_guesses",
            subscriber_id,
        )
        return int(row["wrong_guesses"]) if row else 0

    async def clear_guesses(self, subscriber_id: str) -> None:
        await self.rows(
            "UPDATE subscribers SET wrong_guesses = 0, locked = 0 WHERE id = $1 AND (wrong_guesses <> 0 OR locked <> 0)",
            subscriber_id,
        )

    async def lock(self, subscriber_id: str) -> bool:
        return await self._did(
            "UPDATE subscribers SET locked = 1 WHERE id = $1 AND locked = 0 RETURNING id", subscriber_id
        )

    async def refuse(self, person: Person, project_id: str, mode: Mode, *, refused: bool = True) -> None:
        if refused:
            await self.rows(
                "INSERT INTO refusals (address, project_id, mode, refused_at) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (address, project_id, mode) DO NOTHING",
                person.address,
                project_id,
                mode,
                self.now,
            )
        else:
            await self.rows(
                "DELETE FROM refusals WHERE address = $1 AND project_id = $2 AND mode = $3",
                person.address,
                project_id,
                mode,
            )

    async def refuses(self, person: Person, project_id: str, mode: Mode) -> bool:
        return await self._did(
            "SELECT 1 AS yes FROM refusals WHERE address = $1 AND project_id = $2 AND mode = $3",
            person.address,
            project_id,
            mode,
        )

    # ---------------------------------------------------------------- codes

    async def code(self, subscriber_id: str, purpose: str) -> Code | None:
        row = await self._one(
            f"SELECT {CODE} FROM codes WHERE subscriber_id = $1 AND purpose = $2 AND expires_at > $3",
            subscriber_id,
            purpose,
            self.now,
        )
        return rows.code(row) if row else None

    async def _end_messages(self, ending: Ending, which: str, *values: Any) -> None:
        """Codes of a condition on `c` are about to end: their messages will tell why."""
        found = await self.rows(
            f"UPDATE messages SET ended = $1 WHERE ended IS NULL AND code_id IN (SELECT c.id FROM codes c WHERE {which}) "
            "RETURNING id",
            ending,
            *values,
        )
        self._tell_over(found)

    def _tell_over(self, messages: Sequence[Row]) -> None:
        for row in messages:
            self.emit(MessageOver(row["id"]))

    async def put_code(self, code: Code) -> None:
        which = "c.subscriber_id = $2 AND c.purpose = $3 AND c.id <> $4"
        await self._end_messages(Ending.REPLACED, which, code.subscriber_id, code.terms.purpose, code.id)
        await self.rows(
            "INSERT INTO codes (subscriber_id, purpose, id, request_id, ttl_minutes, max_attempts, code_length, seed, "
            "key_id, attempts, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
            "ON CONFLICT (subscriber_id, purpose) DO UPDATE SET id = $3, request_id = $4, ttl_minutes = $5, "
            "max_attempts = $6, code_length = $7, seed = $8, key_id = $9, attempts = $10, expires_at = $11",
            code.subscriber_id,
            code.terms.purpose,
            code.id,
            code.request_id,
            code.terms.ttl_minutes,
            code.terms.max_attempts,
            code.terms.length,
            code.seed.bits,
            code.seed.key_id,
            code.attempts,
            code.expires_at,
        )

    async def count_attempt(self, code_id: str) -> int | None:
        row = await self._one(
            "UPDATE codes SET attempts = attempts + 1 WHERE id = $1 AND attempts < max_attempts AND expires_at > $2 "
            "RETURNING attempts",
            code_id,
            self.now,
        )
        return int(row["attempts"]) if row else None

    async def consume(self, code_id: str, ending: Ending) -> bool:
        await self._end_messages(ending, "c.id = $2", code_id)
        return await self._did("DELETE FROM codes WHERE id = $1 RETURNING id", code_id)

    async def kill_codes(self, subscriber_id: str, ending: Ending) -> None:
        await self._end_messages(ending, "c.subscriber_id = $2", subscriber_id)
        await self.rows("DELETE FROM codes WHERE subscriber_id = $1", subscriber_id)

    async def kill_project_codes(self, project_id: str, ending: Ending) -> None:
        theirs = "subscriber_id IN (SELECT id FROM subscribers WHERE project_id = {})"
        await self._end_messages(ending, f"c.{theirs.format('$2')}", project_id)
        await self.rows(f"DELETE FROM codes WHERE {theirs.format('$1')}", project_id)

    async def revoke_codes(self) -> int:
        # Deliveries first, all in one statement: what one brings while we look is among the codes by then.
        coming = await self.rows(
            "UPDATE deliveries SET state = CASE state WHEN 'claimed' THEN 'refused' ELSE state END, "
            "refusal = CASE state WHEN 'claimed' THEN $2 ELSE refusal END, "
            "settled_at = CASE state WHEN 'claimed' THEN $1 ELSE settled_at END, seed = $3, key_id = '' "
            f"WHERE {UNDER_WAY} RETURNING id",
            self.now,
            Refusal.UNAVAILABLE,
            b"",
        )
        await self._end_messages(Ending.WITHDRAWN, "TRUE")
        ended = await self.rows("DELETE FROM codes RETURNING expires_at")
        return len(coming) + len([row for row in ended if row["expires_at"] > self.now])

    async def code_by_id(self, code_id: str) -> Code | None:
        row = await self._one(
            f"SELECT {CODE} FROM codes WHERE id = $1 AND expires_at > $2", code_id, self.now
        )
        return rows.code(row) if row else None

    async def code_end(self, code_id: str) -> int | None:
        row = await self._one(
            "SELECT expires_at FROM codes WHERE id = $1 AND expires_at > $2", code_id, self.now
        )
        return int(row["expires_at"]) if row else None

    async def purposes_alive(self, subscriber_id: str) -> set[str]:
        found = await self.rows(
            "SELECT purpose FROM codes WHERE subscriber_id = $1 AND expires_at > $2 "
            f"UNION ALL SELECT purpose FROM deliveries WHERE subscriber_id = $1 AND {UNDER_WAY}",
            subscriber_id,
            self.now,
        )
        return {row["purpose"] for row in found}

    # ------------------------------------------------------------- requests

    async def add_request(self, request: Request) -> None:
        await self.rows(
            "INSERT INTO requests (id, project_id, mode, channel, purpose, ttl_minutes, max_attempts, code_length, "
            "status, created_at, expires_at, context, match_number, match_choice, pairing_code, external_id, page, "
            "asks_phone) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
            request.id,
            request.project_id,
            request.mode,
            request.channel,
            request.terms.purpose,
            request.terms.ttl_minutes,
            request.terms.max_attempts,
            request.terms.length,
            request.status,
            request.created_at,
            request.expires_at,
            rows.context_text(request.context),
            request.match.number if request.match else None,
            ",".join(request.match.choice) if request.match else None,
            request.pairing_code,
            request.external_id,
            rows.request_page_text(request.page),
            int(request.asks_phone),
        )

    async def request(self, request_id: str) -> Request | None:
        row = await self._one(f"SELECT {REQUEST} FROM requests WHERE id = $1 {self.LOCKED}", request_id)
        return rows.request(row) if row else None

    async def request_by_pairing(self, pairing_code: str) -> str | None:
        row = await self._one(
            "SELECT id FROM requests WHERE pairing_code = $1 AND status = 'pending' AND expires_at > $2",
            pairing_code,
            self.now,
        )
        return str(row["id"]) if row else None

    async def miss_pairing(self, miss_id: str, person: Person) -> None:
        await self.rows(
            "INSERT INTO pairing_misses (id, address, missed_at) VALUES ($1, $2, $3)",
            miss_id,
            person.address,
            self.now,
        )

    async def pairing_misses(self, person: Person, since: int) -> list[int]:
        found = await self.rows(
            "SELECT missed_at FROM pairing_misses WHERE address = $1 AND missed_at > $2",
            person.address,
            since,
        )
        return [int(row["missed_at"]) for row in found]

    async def bind(self, request_id: str, person: Person) -> bool:
        return await self._did(
            "UPDATE requests SET bound_to = $2 WHERE id = $1 AND status = 'pending' "
            "AND (bound_to IS NULL OR bound_to = $2) RETURNING id",
            request_id,
            person.address,
        )

    async def finish(self, request_id: str, status: RequestStatus, subscriber_id: str | None = None) -> bool:
        if status not in REQUEST_STEPS[RequestStatus.PENDING]:
            return False
        return await self._did(
            "UPDATE requests SET status = $2, finished_at = $3, subscriber_id = $4 "
            "WHERE id = $1 AND status = 'pending' RETURNING id",
            request_id,
            status,
            self.now,
            subscriber_id,
        )

    async def note_opened(self, request_id: str, channel: Channel) -> None:
        await self.rows(
            "UPDATE requests SET opened = 1, opened_at = $2, opened_in = $3 WHERE id = $1 AND opened = 0",
            request_id,
            self.now,
            channel,
        )

    async def report(self, request_id: str) -> None:
        await self.rows("UPDATE requests SET reported = 1 WHERE id = $1", request_id)

    async def note_verified(self, request_id: str) -> None:
        await self.rows("UPDATE requests SET verified_at = $2 WHERE id = $1", request_id, self.now)

    async def overdue_requests(self, limit: int) -> list[Request]:
        found = await self.rows(
            f"SELECT {REQUEST} FROM requests r WHERE r.status = 'pending' AND r.expires_at <= $1 "
            "AND (r.expires_at <= $2 OR NOT EXISTS "
            f"(SELECT 1 FROM deliveries d WHERE d.request_id = r.id AND d.{UNDER_WAY})) "
            f"ORDER BY r.expires_at LIMIT $3 {self.SKIP_LOCKED}",
            self.now,
            self.now - REQUEST_GRACE_MS,
            limit,
        )
        return [rows.request(row) for row in found]

    # ----------------------------------------------------------- deliveries

    async def claim(self, delivery: Delivery) -> bool:
        return await self._did(
            "INSERT INTO deliveries (id, project_id, subscriber_id, address, request_id, cause, purpose, ttl_minutes, "
            "max_attempts, code_length, seed, key_id, code_id, reuses, state, tries, claimed_at, due_at, give_up_at, "
            "context) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'claimed', 0, $15, $16, $17, $18) "
            "ON CONFLICT DO NOTHING RETURNING id",
            delivery.id,
            delivery.project_id,
            delivery.subscriber_id,
            delivery.person.address,
            delivery.request_id,
            delivery.cause,
            delivery.terms.purpose,
            delivery.terms.ttl_minutes,
            delivery.terms.max_attempts,
            delivery.terms.length,
            delivery.seed.bits,
            delivery.seed.key_id,
            delivery.code_id,
            int(delivery.reuses),
            delivery.claimed_at,
            delivery.due_at,
            delivery.give_up_at,
            rows.context_text(delivery.context),
        )

    async def delivery(self, delivery_id: str) -> Delivery | None:
        await self._lock_around(delivery_id)
        row = await self._one(f"SELECT {DELIVERY} FROM deliveries WHERE id = $1 {self.LOCKED}", delivery_id)
        return rows.delivery(row) if row else None

    async def under_way(self, subscriber_id: str, purpose: str) -> Delivery | None:
        row = await self._one(
            f"SELECT {DELIVERY} FROM deliveries WHERE subscriber_id = $1 AND purpose = $2 AND {UNDER_WAY}",
            subscriber_id,
            purpose,
        )
        return rows.delivery(row) if row else None

    async def request_deliveries(self, request_id: str) -> list[Delivery]:
        found = await self.rows(
            f"SELECT {DELIVERY} FROM deliveries WHERE request_id = $1 ORDER BY claimed_at, id", request_id
        )
        return [rows.delivery(row) for row in found]

    async def step(
        self,
        delivery_id: str,
        before: DeliveryState,
        after: DeliveryState,
        *,
        due_at: int | None = None,
        refusal: Refusal | None = None,
    ) -> bool:
        if after not in DELIVERY_STEPS[before]:
            return False
        where = "WHERE id = $1 AND state = $2 RETURNING id"
        if after is DeliveryState.ATTEMPTING:
            sql = f"UPDATE deliveries SET state = $3, tries = tries + 1, attempted_at = $4 {where}"
            return await self._did(sql, delivery_id, before, after, self.now)
        if after is DeliveryState.CLAIMED:
            sql = f"UPDATE deliveries SET state = $3, due_at = $4 {where}"
            return await self._did(sql, delivery_id, before, after, self.now if due_at is None else due_at)
        # What is settled needs its seed no more: the code has it, if there is one.
        sql = (
            f"UPDATE deliveries SET state = $3, refusal = $4, settled_at = $5, seed = $6, key_id = '' {where}"
        )
        return await self._did(sql, delivery_id, before, after, refusal, self.now, b"")

    async def reseed(self, delivery_id: str, seed: CodeSeed, code_id: str) -> None:
        await self.rows(
            "UPDATE deliveries SET seed = $2, key_id = $3, code_id = $4, reuses = 0 WHERE id = $1 AND state = 'claimed'",
            delivery_id,
            seed.bits,
            seed.key_id,
            code_id,
        )

    async def spent(self, subscriber_id: str, *, by_tap: bool, since: int) -> list[int]:
        causes = "cause <> 'send'" if by_tap else "cause = 'send'"
        found = await self.rows(
            f"SELECT state, attempted_at FROM deliveries WHERE subscriber_id = $1 AND claimed_at > $2 AND {causes} "
            f"AND ({UNDER_WAY} OR (state IN ('accepted', 'unknown') AND attempted_at > $3))",
            subscriber_id,
            since - REQUEST_LIFE_MS - REQUEST_GRACE_MS,
            since,
        )
        ended = (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN)
        return [row["attempted_at"] if row["state"] in ended else self.now for row in found]

    async def stranded(self, claimed_before: int, attempting_before: int, limit: int) -> list[Delivery]:
        found = await self.rows(
            f"SELECT {DELIVERY} FROM deliveries WHERE {UNDER_WAY} AND ((state = 'claimed' AND due_at <= $1) "
            "OR (state = 'attempting' AND attempted_at <= $2)) ORDER BY due_at LIMIT $3",
            claimed_before,
            attempting_before,
            limit,
        )
        return [rows.delivery(row) for row in found]

    async def waiting_since(self) -> int | None:
        row = await self._one(f"SELECT min(claimed_at) AS at FROM deliveries WHERE {UNDER_WAY}")
        return int(row["at"]) if row and row["at"] is not None else None

    async def claimed_for(self, subscriber_id: str) -> list[Delivery]:
        found = await self.rows(
            f"SELECT {DELIVERY} FROM deliveries WHERE subscriber_id = $1 AND state = 'claimed'", subscriber_id
        )
        return [rows.delivery(row) for row in found]

    # ------------------------------------------------------------- messages

    async def add_message(self, message: SentMessage, messenger_id: str | None = None) -> None:
        await self.rows(
            "INSERT INTO messages (id, address, kind, request_id, subscriber_id, delivery_id, code_id, messenger_id, "
            "created_at, language) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
            "ON CONFLICT (id) DO UPDATE SET messenger_id = $8",
            message.id,
            message.person.address,
            message.kind,
            message.request_id,
            message.subscriber_id,
            message.delivery_id,
            message.code_id,
            messenger_id,
            self.now,
            message.language,
        )

    async def end_messages(self, code_id: str, ending: Ending, *, but: str) -> None:
        found = await self.rows(
            "UPDATE messages SET ended = $2 WHERE code_id = $1 AND ended IS NULL AND id <> $3 RETURNING id",
            code_id,
            ending,
            but,
        )
        self._tell_over(found)

    async def code_message(self, code_id: str, person: Person) -> CodeMessage | None:
        row = await self._one(
            "SELECT subscriber_id, request_id, delivery_id, ended FROM messages WHERE code_id = $1 AND address = $2 "
            "ORDER BY request_id IS NULL, created_at DESC LIMIT 1",
            code_id,
            person.address,
        )
        if row is None:
            return None
        ended = Ending(row["ended"]) if row["ended"] else None
        return CodeMessage(row["subscriber_id"], row["request_id"], row["delivery_id"], ended)

    async def shown_code(self, message_id: str) -> ShownCode | None:
        row = await self._one(
            "SELECT id, messenger_id, address, delivery_id, code_id, ended FROM messages "
            "WHERE id = $1 AND closed = 0 AND messenger_id IS NOT NULL AND code_id IS NOT NULL",
            message_id,
        )
        return rows.shown_code(row) if row else None

    async def end_questions(self, request_id: str, ending: Ending) -> None:
        found = await self.rows(
            "UPDATE messages SET ended = $2 WHERE request_id = $1 AND ended IS NULL AND code_id IS NULL "
            "AND kind IN ('question', 'unlock', 'offer', 'unwanted') RETURNING id",
            request_id,
            ending,
        )
        self._tell_over(found)

    async def shown_question(self, message_id: str) -> ShownQuestion | None:
        row = await self._one(
            "SELECT id, messenger_id, address, request_id, language, created_at FROM messages "
            "WHERE id = $1 AND closed = 0 AND ended IS NOT NULL AND code_id IS NULL AND request_id IS NOT NULL",
            message_id,
        )
        return rows.shown_question(row) if row else None

    async def close_message(self, message_id: str) -> None:
        await self.rows("UPDATE messages SET closed = 1 WHERE id = $1", message_id)

    async def was_shown(self, request_id: str, person: Person, kinds: Sequence[MessageKind]) -> bool:
        found = await self.rows(
            "SELECT kind FROM messages WHERE request_id = $1 AND address = $2", request_id, person.address
        )
        return any(row["kind"] in kinds for row in found)

    # ----------------------------------------------------------- calls with a key

    async def claim_call(self, claim: KeyClaim) -> KeptCall | None:
        # On PostgreSQL this waits for whoever claims it at the moment, and locks what they left.
        claimed = await self._did(
            "INSERT INTO idempotency (id, project_id, fingerprint, claimed_at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (id) DO UPDATE SET fingerprint = $3, claimed_at = $4, delivery_id = NULL, status = NULL, "
            "answer = NULL WHERE idempotency.claimed_at <= $5 RETURNING id",
            claim.id,
            claim.project_id,
            claim.fingerprints[0],
            self.now,
            self.now - CALL_KEYS_KEPT_MS,
        )
        return None if claimed else await self.kept_call(claim.id)

    async def kept_call(self, claim_id: str) -> KeptCall | None:
        row = await self._one(
            "SELECT fingerprint, delivery_id, status, answer FROM idempotency WHERE id = $1 AND claimed_at > $2",
            claim_id,
            self.now - CALL_KEYS_KEPT_MS,
        )
        return rows.kept_call(row) if row else None

    async def keep_call(self, claim_id: str, delivery_id: str | None, told: Told | None) -> bool:
        return await self._did(
            "UPDATE idempotency SET delivery_id = $2, status = $3, answer = $4 WHERE id = $1 AND status IS NULL "
            "AND (delivery_id IS NULL OR delivery_id = $2) RETURNING id",
            claim_id,
            delivery_id,
            told.status if told else None,
            told.body if told else None,
        )

    async def drop_delivery(self, claim_id: str, delivery_id: str) -> bool:
        return await self._did(
            "UPDATE idempotency SET delivery_id = NULL WHERE id = $1 AND delivery_id = $2 AND status IS NULL RETURNING id",
            claim_id,
            delivery_id,
        )

    async def free_call(self, claim_id: str, delivery_id: str) -> None:
        await self.rows(
            "DELETE FROM idempotency WHERE id = $1 AND delivery_id = $2 AND status IS NULL",
            claim_id,
            delivery_id,
        )

    # ----------------------------------------------------------- housekeeping

    async def ensure_job(self, kind: str, subject: str, due_at: int) -> None:
        await self._plan([(kind, subject, due_at)])

    async def _plan(self, jobs: Sequence[tuple[str, str, int]]) -> None:
        """Different jobs, in one statement."""
        places = [f"(${3 * at + 1}, ${3 * at + 2}, ${3 * at + 3}, 0, 0, '', '')" for at in range(len(jobs))]
        await self.rows(
            "INSERT INTO jobs (kind, subject, due_at, attempts, lease_until, owner, payload) "
            f"VALUES {', '.join(places)} ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at "
            "WHERE jobs.due_at > excluded.due_at OR jobs.lease_until > excluded.due_at",
            *(value for job in jobs for value in job),
        )

    async def take_job(self, owner: str, lease_ms: int) -> Job | None:
        row = await self._one(
            "UPDATE jobs SET lease_until = $2, owner = $3, attempts = attempts + 1 WHERE (kind, subject) = "
            "(SELECT kind, subject FROM jobs WHERE due_at <= $1 AND lease_until <= $1 "
            f"ORDER BY due_at, kind, subject LIMIT 1 {self.SKIP_LOCKED}) RETURNING {JOB}",
            self.now,
            self.now + lease_ms,
            owner,
        )
        return rows.job(row) if row else None

    async def next_job_at(self) -> int | None:
        row = await self._one(
            "SELECT min(at) AS at FROM (SELECT min(due_at) AS at FROM jobs WHERE lease_until = 0 UNION ALL "
            "SELECT min(CASE WHEN lease_until > due_at THEN lease_until ELSE due_at END) AS at FROM jobs "
            "WHERE lease_until > 0) AS planned"
        )
        return int(row["at"]) if row and row["at"] is not None else None

    async def end_job(self, job: Job, again_at: int | None, attempts: int = 0) -> None:
        if again_at is None:
            await self.rows(
                "DELETE FROM jobs WHERE kind = $1 AND subject = $2 AND owner = $3 AND due_at = $4",
                job.kind,
                job.subject,
                job.owner,
                job.due_at,
            )
        await self.rows(
            "UPDATE jobs SET due_at = CASE WHEN due_at = $4 THEN $5 ELSE due_at END, attempts = $6, lease_until = 0, "
            "owner = '' WHERE kind = $1 AND subject = $2 AND owner = $3",
            job.kind,
            job.subject,
            job.owner,
            job.due_at,
            job.due_at if again_at is None else again_at,
            attempts,
        )

    async def fact(self, name: str) -> str | None:
        row = await self._one("SELECT value FROM facts WHERE name = $1", name)
        return str(row["value"]) if row else None

    async def remember(self, name: str, value: str | None) -> None:
        if value is None:
            await self.rows("DELETE FROM facts WHERE name = $1", name)
        else:
            await self.rows(
                "INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2 "
                "WHERE facts.value <> $2",
                name,
                value,
            )

    async def purge(self, limit: int) -> int:
        gone = [len(await self.rows(f"{sql} RETURNING 1", self.now - kept, limit)) for sql, kept in _OVER]
        return sum(gone) + await self.purge_notices(limit)


def _some(table: str, order: str = "id") -> str:
    """The first rows of a table that belong to a project."""
    return f"(SELECT id FROM {table} WHERE project_id = $1 ORDER BY {order} LIMIT $2)"


_OF_PROJECT = (
    *outbox.OF_PROJECT,
    *stats.OF_PROJECT,
    f"DELETE FROM messages WHERE request_id IN {_some('requests', '{order}')}",
    f"DELETE FROM requests WHERE id IN {_some('requests', '{order}')}",
    f"DELETE FROM messages WHERE subscriber_id IN {_some('subscribers')}",
    f"DELETE FROM deliveries WHERE subscriber_id IN {_some('subscribers')}",
    f"DELETE FROM codes WHERE subscriber_id IN {_some('subscribers')}",
    f"DELETE FROM accounts WHERE subscriber_id IN {_some('subscribers')}",
    f"DELETE FROM subscribers WHERE id IN {_some('subscribers')}",
    f"DELETE FROM idempotency WHERE id IN {_some('idempotency')}",
    (
        "DELETE FROM refusals WHERE project_id = $1 AND address IN "
        "(SELECT address FROM refusals WHERE project_id = $1 LIMIT $2)"
    ),
)
"""Everything of some requests, subscribers and refusals of a project; what is found through others goes before them."""


def _rows_over(table: str, key: str, time: str) -> str:
    # Said twice: a row that changed since it was found is judged again, by the outer condition alone.
    some = f"SELECT {key} FROM {table} WHERE {time} <= $1 LIMIT $2"
    return f"DELETE FROM {table} WHERE {key} IN ({some}) AND {time} <= $1"


_OVER = (
    *outbox.OVER,
    *stats.OVER,
    (_rows_over("codes", "id", "expires_at"), 0),
    (_rows_over("updates", "key", "seen_at"), UPDATE_KEYS_KEPT_MS),
    (_rows_over("requests", "id", "finished_at"), REQUEST_KEPT_MS),
    (_rows_over("requests", "id", "opened = 0 AND finished_at"), UNOPENED_KEPT_MS),
    (_rows_over("idempotency", "id", "claimed_at"), CALL_KEYS_KEPT_MS),
    (_rows_over("messages", "id", "created_at"), UPDATE_KEYS_KEPT_MS),
    (_rows_over("api_keys", "hash", "ends_at"), 0),
    (_rows_over("pairing_misses", "id", "missed_at"), HOUR_MS),
    (_rows_over("audit", "id", "at"), AUDIT_KEPT_MS),
)
"""What is removed, how long after which time. Deliveries go in `storage.people`."""
