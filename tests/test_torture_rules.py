"""The checks of a torture's record: a clean record passes, and each rule that is broken by hand is reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.history import Act, Call, Heard, History, Kind, Life, Message, Try
from tests.rules import CHECKS, broken

ANN, BOB = "telegram:410000001", "max:410000002"
SUB = "00000000-0000-4000-8000-000000000001"
REQUEST = "AAAAbbbbCCCCdddd"


@dataclass
class Story:
    """A record that is written line by line; each line takes ten milliseconds."""

    history: History = field(default_factory=lambda: History(budget=5, lives=[Life(0)]))
    at: float = 0

    def _tick(self) -> float:
        self.at += 10
        return self.at

    def call(self, kind: Kind, fields: dict[str, Any], code: int, /, **answer: Any) -> Call:
        """A call and its answer; code 0: lost."""
        call = Call(kind, self._tick(), fields, self._tick(), code, answer)
        self.history.calls.append(call)
        return call

    def request(self, tag: str = "Treq", request_id: str = REQUEST, **terms: Any) -> Call:
        """A request."""
        return self.call("request", {"context": {"action": tag}, **terms}, 200, request_id=request_id)

    def status(
        self, status: str, request_id: str = REQUEST, subscriber: str | None = None, **beside: Any
    ) -> Call:
        """A status that was read."""
        told = {"subscriber_id": subscriber, "channel": "telegram"} if subscriber else {}
        return self.call("status", {"request_id": request_id}, 200, status=status, **told, **beside)

    def act(self, verb: str, subject: str = REQUEST, person: str = ANN, *attempts: int | str) -> Act:
        """An act that was acknowledged."""
        act = Act(verb, self._tick(), person, subject, [list(attempts or (200,))], self._tick())
        self.history.acts.append(act)
        return act

    def message(self, digits: str, tag: str = "Treq", person: str = ANN, *, took: bool = True) -> Message:
        """A code message."""
        message = Message(self._tick(), person, digits, tag, took)
        self.history.messages.append(message)
        return message

    def send(self, tag: str, digits: str, status: int = 200, **terms: Any) -> Call:
        """A send with its one message."""
        call = self.call("send", {"subscriber_id": SUB, "context": {"action": tag}, **terms}, status)
        self.history.messages.append(Message(call.begun + 5, ANN, digits, tag))
        return call

    def verify(self, code: str, reason: str | None = None, **fields: Any) -> Call:
        """A guess: accepted without a reason."""
        answer = {"verified": False, "reason": reason} if reason else {"verified": True}
        return self.call("verify", {"subscriber_id": SUB, "code": code, **fields}, 200, **answer)

    def keyed(self, kind: Kind, fields: dict[str, Any], *told: tuple[int, dict[str, Any], bool]) -> Call:
        """A call with a key and what came of its tries: code, body, and whether it was an earlier answer."""
        call = Call(kind, self._tick(), fields, key="k")
        for status, body, replayed in told:
            text = json.dumps(body) if status else ""
            call.tries.append(Try(self._tick(), self._tick(), status, text, replayed))
        call.settle()
        self.history.calls.append(call)
        return call

    def cancel(self, request_id: str = REQUEST, status: int = 200) -> Call:
        """The site cancels a request, or comes too late."""
        told = {"status": "cancelled"} if status == 200 else {"code": "request_not_pending"}
        return self.call("cancel", {"request_id": request_id}, status, **told)

    def revoke(self, *, revoked: bool = True) -> Call:
        """The site takes Ann's code back."""
        return self.call("revoke", {"subscriber_id": SUB}, 200, revoked=revoked)

    def hear(self, type_: str, *, id_: str = "", took: bool = True, listed: bool = True, **data: Any) -> str:
        """An event arrives; its id."""
        made = id_ or f"evt_{self._tick():.0f}"
        body = json.dumps({"type": type_, "data": data})
        self.history.heard.append(Heard(self._tick(), made, type_, data, body, took))
        if listed:
            self.history.outbox[made] = "delivered"
        return made

    def about(self, type_: str, **more: Any) -> str:
        """An event about Ann's code."""
        return self.hear(type_, subscriber_id=SUB, purpose="login", **more)

    def wrong(self, times: int, **fields: Any) -> None:
        """Wrong guesses."""
        for _ in range(times):
            self.verify("000000", "wrong_code", **fields).answer["attempts_left"] = 1


def begun() -> Story:
    """Ann subscribed through a request with three attempts, and has the code 111111."""
    story = Story()
    story.request()
    story.act("open")
    story.act("yes")
    story.message("111111")
    story.status("sent", subscriber=SUB, sent_at="a")
    story.status("sent", subscriber=SUB)  # so says a release that tells no times
    story.status("sent", subscriber=SUB, sent_at="a", verified=True, verified_at="b")
    return story


def heard() -> Story:
    """The same, and a webhook heard of it."""
    story = begun()
    story.history.listens = True
    story.hear("subscriber.joined", subscriber_id=SUB)
    story.about("otp.sent", request_id=REQUEST)
    return story


def all_is_heard() -> Story:
    """Everything that can be told, with what was lost and what comes twice."""
    story = heard()
    story.wrong(1, request_id=REQUEST)
    story.about("otp.wrong_code")
    story.call("verify", {"subscriber_id": SUB, "code": "111111"}, 0)
    story.about("otp.verified", id_="evt_v", took=False)
    story.about("otp.verified", id_="evt_v")
    story.send("Tsend", "222222")
    story.about("otp.sent")
    story.call("send", {"subscriber_id": SUB, "context": {"action": "Tunknown"}}, 502)
    story.about("otp.failed", reason="unknown")
    for number in range(2):
        story.wrong(1)
        story.history.calls[-1].answer["attempts_left"] = 1 - number
        story.about("otp.wrong_code")
    story.about("otp.exhausted")
    story.request("Tmore", "B" * 16)
    story.cancel("B" * 16)
    story.status("cancelled", "B" * 16)
    story.hear("otp.cancelled", request_id="B" * 16)
    story.hear("subscriber.locked", subscriber_id=SUB)
    story.hear("subscriber.unlocked", subscriber_id=SUB)
    story.hear("subscriber.left", subscriber_id=SUB)
    story.hear("subscriber.joined", subscriber_id=SUB)
    return story


KEPT = (200, {"sent": True}, False)
AGAIN = (200, {"sent": True}, True)
LOST: tuple[int, dict[str, Any], bool] = (0, {}, False)
BUSY = (409, {"code": "idempotency_in_progress", "retryable": True}, False)
NOT_NOW = (503, {"code": "messenger_unavailable", "retryable": True}, False)


def test_what_is_heard_of_a_clean_record_breaks_nothing() -> None:
    """Events of lost calls are explained, and each may come twice."""
    assert broken(all_is_heard().history) == []


def test_calls_with_keys_break_nothing() -> None:
    """Lost and made again, in progress, free again after what is not kept, replayed; a code that was taken back is dead."""
    story = begun()
    fields = {"subscriber_id": SUB, "context": {"action": "Tkey"}}
    call = story.keyed("send", fields, LOST, BUSY, NOT_NOW, KEPT, AGAIN, NOT_NOW)
    assert (call.status, call.ended) == (200, call.tries[3].ended)
    story.message("222222", "Tkey")
    story.call("mismatch", fields, 422, code="idempotency_mismatch")
    story.revoke()
    story.verify("222222", "no_active_code")
    story.send("Tnext", "222222")
    story.verify("222222")  # the same digits by chance
    story.cancel(status=409)
    story.request("Tmore", "B" * 16)
    story.cancel("B" * 16)
    story.status("cancelled", "B" * 16)
    assert broken(story.history) == []


def test_what_became_of_a_call_with_a_key() -> None:
    """Nobody knows while something was lost after the last answer; what is kept decides."""
    story = begun()
    for told, status in (
        ([LOST], 0),
        ([LOST, BUSY], 0),
        ([NOT_NOW, LOST], 0),
        ([LOST, NOT_NOW], 503),
        ([KEPT, LOST], 200),
        ([NOT_NOW, AGAIN], 200),
    ):
        assert story.keyed("send", {}, *told).status == status, told


def clean() -> Story:
    """A long record in which nothing is wrong."""
    story = begun()
    story.wrong(1, request_id=REQUEST)
    story.verify("111111", request_id=REQUEST)
    story.verify("111111", "no_active_code")
    story.send("Tsend", "222222")
    story.wrong(4)
    story.act("repeat", "Tsend")
    story.message("222222", "Tsend")
    story.verify("222222")
    story.send("Tnew", "333333")
    story.call("send", {"subscriber_id": SUB, "context": {"action": "Tlost"}}, 0)
    story.message("444444", "Tlost")
    story.verify("333333")  # whether the lost one took its place is unknown
    story.call("foreign", {"subscriber_id": SUB, "code": "444444"}, 200, reason="no_active_code")
    story.act("leave", SUB, ANN, "ServerDisconnectedError", 503, 200)
    story.call(
        "send", {"subscriber_id": SUB, "context": {"action": "Tgone"}}, 404, code="subscriber_not_found"
    )
    story.request("Tagain", "B" * 16)
    story.act("open", "B" * 16)
    story.act("yes", "B" * 16)
    story.act("again", "B" * 16)
    story.message("555555", "Tagain", took=False)
    story.message("666666", "Tagain")
    story.status("pending", "B" * 16)
    story.status("sent", "B" * 16, subscriber=SUB)
    story.status("sent", "B" * 16, subscriber=SUB)
    return story


def test_a_clean_record_breaks_nothing() -> None:
    """Lost calls, repeated codes, redelivered updates and people who come back are explained."""
    assert broken(clean().history) == []


def test_a_code_that_no_messenger_heard_of_explains_guesses() -> None:
    """The process died between the attempt's commit and the call: the code lives, and has attempts of its own."""
    story = begun()
    story.verify("111111")
    story.call("send", {"subscriber_id": SUB, "context": {"action": "Tlost"}}, 0)
    story.wrong(5)
    assert broken(story.history) == []


# ------------------------------------------------------------------ one rule each


def accepted_twice(story: Story) -> None:
    story.verify("111111")
    story.verify("111111")


def accepted_unsent(story: Story) -> None:
    story.verify("987654")


def too_many_guesses(story: Story) -> None:
    story.wrong(4, request_id=REQUEST)


def too_many_guesses_of_a_send(story: Story) -> None:
    story.send("Tone", "222222", max_attempts=2)
    story.wrong(2)
    story.verify("222222")


def over_the_budget(story: Story) -> None:
    for number in range(3):
        story.send(f"T{number}", f"22222{number}")
        story.wrong(2)


def replaced_code_lives(story: Story) -> None:
    story.send("Tone", "222222")
    story.send("Ttwo", "333333")
    story.verify("222222")


def code_outlives_its_time(story: Story) -> None:
    story.send("Tone", "222222", ttl_minutes=1)
    story.at += 90_000
    story.verify("222222")


def time_of_a_status_changes(story: Story) -> None:
    story.status("sent", subscriber=SUB, sent_at="b")


def final_status_changes(story: Story) -> None:
    story.status("cancelled")


def subscriber_of_a_request_changes(story: Story) -> None:
    story.status("sent", subscriber=SUB.replace("1", "2"))


def request_vanishes(story: Story) -> None:
    story.call("status", {"request_id": REQUEST}, 404, code="request_not_found")


def consent_is_forgotten(story: Story) -> None:
    story.call("send", {"subscriber_id": SUB, "context": {"action": "Tone"}}, 404)


def leave_is_forgotten(story: Story) -> None:
    story.act("leave", SUB)
    story.send("Tone", "222222")


def second_id(story: Story) -> None:
    story.request("Tmore", "B" * 16)
    story.act("open", "B" * 16)
    story.message("222222", "Tmore")
    story.status("sent", "B" * 16, subscriber=SUB.replace("1", "2"))


def somebody_is_stuck(story: Story) -> None:
    story.history.stuck.append("Treq")


def sent_without_a_message(story: Story) -> None:
    story.call("send", {"subscriber_id": SUB, "context": {"action": "Tone"}}, 200, sent=True)


def sent_twice(story: Story) -> None:
    story.send("Tone", "222222")
    story.message("222222", "Tone")


def sent_twice_and_lost(story: Story) -> None:
    story.send("Tone", "222222", 0)
    story.message("222222", "Tone")


def denied_and_sent(story: Story) -> None:
    story.send("Tone", "222222", 503)


def false_sent(story: Story) -> None:
    story.request("Tmore", "B" * 16)
    story.status("sent", "B" * 16, subscriber=SUB)


def two_messages_for_one_tap(story: Story) -> None:
    story.message("111111")


def code_for_somebody_else(story: Story) -> None:
    story.send("Tone", "222222")
    story.history.messages[-1] = replace(story.history.messages[-1], person=BOB)


def two_people_for_one_request(story: Story) -> None:
    story.act("open", person=BOB)
    story.act("yes", person=BOB)
    story.message("222222", person=BOB)


def code_for_nobody(story: Story) -> None:
    story.message("222222", "Tstray")


def update_is_refused(story: Story) -> None:
    story.act("look", "", ANN, 500, 200)


def update_is_never_taken(story: Story) -> None:
    story.act("look", "", ANN, "ServerDisconnectedError")


def project_sees_another(story: Story) -> None:
    story.call("foreign", {"subscriber_id": SUB, "code": "111111"}, 200, reason="wrong_code")


def internal_error(story: Story) -> None:
    story.call("status", {"request_id": REQUEST}, 500, code="internal_error")


def leak(story: Story) -> None:
    story.history.leaks.append("a secret in the log")


def error_in_the_log(story: Story) -> None:
    story.history.errors.append("background.failed")


def key_with_two_answers(story: Story) -> None:
    story.keyed("send", {"subscriber_id": SUB}, KEPT, (200, {"sent": True, "more": 1}, True))


def key_with_two_effects(story: Story) -> None:
    call = story.keyed("send", {"subscriber_id": SUB}, KEPT)
    call.tries.append(replace(call.tries[0]))


def key_that_is_forgotten(story: Story) -> None:
    story.keyed("send", {"subscriber_id": SUB}, KEPT, BUSY)


def key_for_two_calls(story: Story) -> None:
    story.call("mismatch", {"subscriber_id": SUB}, 200, sent=True)


def cancelled_and_sent(story: Story) -> None:
    story.cancel()


def cancelled_and_pending(story: Story) -> None:
    story.request("Tmore", "B" * 16)
    story.cancel("B" * 16)
    story.status("pending", "B" * 16)


def too_late_and_pending(story: Story) -> None:
    story.request("Tmore", "B" * 16)
    story.cancel("B" * 16, 409)
    story.status("pending", "B" * 16)


def cancelled_and_unknown(story: Story) -> None:
    story.cancel("B" * 16, 404)


def cancelled_and_delivered(story: Story) -> None:
    story.request("Tmore", "B" * 16)
    story.cancel("B" * 16)
    story.message("222222", "Tmore")


def cancelled_and_accepted(story: Story) -> None:
    story.request("Tmore", "B" * 16)
    story.message("222222", "Tmore")
    story.cancel("B" * 16)
    story.verify("222222")


def revoked_and_accepted(story: Story) -> None:
    story.revoke()
    story.verify("111111", request_id=REQUEST)


def event_changes(story: Story) -> None:
    story.about("otp.sent", id_=next(iter(story.history.outbox)))


def event_of_nothing(story: Story) -> None:
    story.about("otp.sent", listed=False)


def event_is_lost(story: Story) -> None:
    story.history.outbox["evt_lost"] = "delivered"


def event_is_never_taken(story: Story) -> None:
    story.history.heard[-1].took = False


def event_is_still_to_be_told(story: Story) -> None:
    story.history.outbox[story.history.heard[-1].id] = "pending"


def acceptance_is_not_heard(story: Story) -> None:
    story.verify("111111")


def acceptance_is_heard_twice(story: Story) -> None:
    story.verify("111111")
    story.about("otp.verified")
    story.about("otp.verified")


def acceptance_of_another_purpose_is_heard(story: Story) -> None:
    story.hear("otp.verified", subscriber_id=SUB, purpose="pay")


def wrong_guess_is_not_heard(story: Story) -> None:
    story.wrong(1)


def end_of_the_guesses_is_not_heard(story: Story) -> None:
    story.wrong(1)
    story.history.calls[-1].answer["attempts_left"] = 0
    story.about("otp.wrong_code")


def message_is_not_heard(story: Story) -> None:
    story.send("Tone", "222222")


def message_is_heard_twice(story: Story) -> None:
    story.send("Tone", "222222")
    story.about("otp.sent")
    story.about("otp.sent")


def failure_is_not_heard(story: Story) -> None:
    story.call("send", {"subscriber_id": SUB, "context": {"action": "Tone"}}, 502)


def failure_of_nothing_is_heard(story: Story) -> None:
    story.about("otp.failed")


def sent_request_is_heard_twice(story: Story) -> None:
    story.about("otp.sent", request_id=REQUEST)


def cancelled_request_is_not_heard(story: Story) -> None:
    story.request("Tmore", "B" * 16)
    story.cancel("B" * 16)


def sent_request_is_heard_as_cancelled(story: Story) -> None:
    story.hear("otp.cancelled", request_id=REQUEST)


def person_leaves_twice(story: Story) -> None:
    story.hear("subscriber.left", subscriber_id=SUB)
    story.hear("subscriber.left", subscriber_id=SUB)


def person_is_unheard_of(story: Story) -> None:
    story.history.heard.pop(0)


def person_is_unlocked_before(story: Story) -> None:
    story.hear("subscriber.unlocked", subscriber_id=SUB)


def something_else_is_heard(story: Story) -> None:
    story.about("otp.reported")


BREAKINGS: list[tuple[str, str, Callable[[Story], None]]] = [
    ("accepted_once", "1", accepted_twice),
    ("accepted_once", "1", accepted_unsent),
    ("attempts_bounded", "2", too_many_guesses),
    ("attempts_bounded", "2", too_many_guesses_of_a_send),
    ("budget_holds", "2", over_the_budget),
    ("newest_code_only", "3", replaced_code_lives),
    ("dead_by_time", "8", code_outlives_its_time),
    ("final_stays", "4", final_status_changes),
    ("final_stays", "4", time_of_a_status_changes),
    ("final_stays", "4", subscriber_of_a_request_changes),
    ("final_stays", "4", request_vanishes),
    ("subscription_stays", "4", consent_is_forgotten),
    ("subscription_stays", "4", leave_is_forgotten),
    ("ids_are_stable", "subscribers", second_id),
    ("nobody_is_stuck", "5", somebody_is_stuck),
    ("sent_means_sent", "5", sent_without_a_message),
    ("sent_means_sent", "5", sent_twice),
    ("one_message_each", "5", sent_twice_and_lost),
    ("sent_means_sent", "5", denied_and_sent),
    ("sent_means_sent", "5", false_sent),
    ("one_message_each", "5", two_messages_for_one_tap),
    ("right_person", "10", code_for_somebody_else),
    ("right_person", "10", two_people_for_one_request),
    ("right_person", "10", code_for_nobody),
    ("same_call_same_answer", "key", key_with_two_answers),
    ("same_call_same_answer", "key", key_with_two_effects),
    ("same_call_same_answer", "key", key_that_is_forgotten),
    ("same_call_same_answer", "key", key_for_two_calls),
    ("cancelled_stays", "cancel", cancelled_and_sent),
    ("cancelled_stays", "cancel", cancelled_and_pending),
    ("cancelled_stays", "cancel", too_late_and_pending),
    ("cancelled_stays", "cancel", cancelled_and_unknown),
    ("cancelled_stays", "cancel", cancelled_and_delivered),
    ("cancelled_stays", "cancel", cancelled_and_accepted),
    ("revoked_is_dead", "revoke", revoked_and_accepted),
    ("events_come_once", "events", event_changes),
    ("events_come_once", "events", event_of_nothing),
    ("events_come_once", "events", event_is_lost),
    ("events_come_once", "events", event_is_never_taken),
    ("events_come_once", "events", event_is_still_to_be_told),
    ("events_are_of_guesses", "events", acceptance_is_not_heard),
    ("events_are_of_guesses", "events", acceptance_is_heard_twice),
    ("events_are_of_guesses", "events", acceptance_of_another_purpose_is_heard),
    ("events_are_of_guesses", "events", wrong_guess_is_not_heard),
    ("events_are_of_guesses", "events", end_of_the_guesses_is_not_heard),
    ("events_are_of_deliveries", "events", message_is_not_heard),
    ("events_are_of_deliveries", "events", message_is_heard_twice),
    ("events_are_of_deliveries", "events", failure_is_not_heard),
    ("events_are_of_deliveries", "events", failure_of_nothing_is_heard),
    ("events_are_of_requests", "events", sent_request_is_heard_twice),
    ("events_are_of_requests", "events", cancelled_request_is_not_heard),
    ("events_are_of_requests", "events", sent_request_is_heard_as_cancelled),
    ("events_are_of_people", "events", person_leaves_twice),
    ("events_are_of_people", "events", person_is_unheard_of),
    ("events_are_of_people", "events", person_is_unlocked_before),
    ("events_are_of_people", "events", something_else_is_heard),
    ("updates_acknowledged", "6", update_is_refused),
    ("updates_acknowledged", "6", update_is_never_taken),
    ("projects_apart", "7", project_sees_another),
    ("no_bugs", "answers", internal_error),
    ("no_bugs", "9", leak),
    ("no_bugs", "answers", error_in_the_log),
]


@pytest.mark.parametrize("check,rule,breaking", BREAKINGS)
def test_a_broken_rule_is_reported(check: str, rule: str, breaking: Callable[[Story], None]) -> None:
    """By the check that is there for it, with a piece of the record that names it."""
    record = heard if check.startswith("events_") else begun
    assert broken(record().history) == []
    story = record()  # what the rules look up is worked out once
    breaking(story)
    (one,) = [one for one in CHECKS if one.__name__ == check]
    found = list(one(story.history))
    assert [one.rule for one in found] == [rule]
    assert found[0].excerpt(story.history).startswith(f"BROKEN: {rule}: ")


def test_every_check_has_a_record_that_it_reports() -> None:
    """None is left out above."""
    assert {check for check, _, _ in BREAKINGS} == {check.__name__ for check in CHECKS}


def test_an_excerpt_shows_what_it_is_about_and_the_restarts_between() -> None:
    """And nothing else."""
    story = begun()
    story.send("Tone", "222222")
    story.history.lives.append(Life(story.at + 1, None, "anytime"))
    story.at += 2
    story.message("222222", "Tone")
    (one,) = [one for one in broken(story.history) if one.what == "sent, and 2 messages"]
    lines = one.excerpt(story.history).splitlines()[1:]
    assert ["send" in lines[0], "MESSAGE" in lines[1], "started" in lines[2], "MESSAGE" in lines[3]] == [
        True
    ] * 4
    assert len(lines) == 4
