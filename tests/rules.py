"""The rules that hold through every fault, checked on a recorded history.

Each check is sound: it reports only what no order of the recorded events explains. An answer that was lost may have had
its effect, at any moment between the call and the end of the process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.history import Act, Broken, Call, Entry, Heard, History, Message

ORPHAN_MS = 20_000
MINUTE_MS = 60_000
ASKS = ("open", "yes", "again", "unlock", "repeat")
"""What a person does to get a code."""
UNDELIVERED = (404, 409, 429, 503)
"""Answers of `/send` after which certainly nothing was sent."""
FINAL = ("sent", "cancelled", "expired")
ADDED = ("created_at", "expires_at", "sent_at", "verified", "verified_at")
"""What a status tells beside, from a release on; the last two come after the end."""


def broken(history: History) -> list[Broken]:
    """Every rule that does not hold."""
    return [one for check in CHECKS for one in check(history)]


# ------------------------------------------------------------------ guesses


def accepted_once(history: History) -> Iterator[Broken]:
    """A code is accepted at most once, over all restarts, and only what was sent to that subscriber."""
    trues: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.verified:
            trues[call.sent["subscriber_id"], call.sent["code"]].append(call)
    people = history.people
    for (subscriber, digits), calls in trues.items():
        sent = [
            one for one in history.messages if (one.person, one.digits) == (people.get(subscriber), digits)
        ]
        most = len({message.tag for message in sent})
        if len(calls) > most:
            yield Broken("1", f"accepted {len(calls)} times, sent as {most} codes", [*calls, *sent])


def attempts_bounded(history: History) -> Iterator[Broken]:
    """No more guesses of a code are evaluated than it has attempts."""
    for messages, guesses in _by_purpose(history):
        for code in dict.fromkeys((one.tag, one.digits) for one in messages):
            call = history.asked[code[0]]
            most = call.sent.get("max_attempts", 5 if call.kind == "send" else 3)
            certain = [one for one in guesses if _could_be(history, messages, one) == {code}]
            if len(certain) > most:
                yield Broken("2", f"{len(certain)} guesses of a code with {most}", [*messages, *certain])


def _by_purpose(history: History) -> Iterator[tuple[list[Message], list[Call]]]:
    """Code messages and evaluated guesses of each subscriber and purpose, both in order."""
    people = history.people
    guesses: dict[tuple[str, str], list[Call]] = defaultdict(list)
    messages: dict[tuple[str, str], list[Message]] = defaultdict(list)
    purposes = {tag: str(call.sent.get("purpose", "login")) for tag, call in history.asked.items()}
    for call in history.calls:
        if not (call.verified or call.evaluated_wrong):
            continue
        guesses[people.get(call.sent["subscriber_id"], "?"), history.purpose(call)].append(call)
    for message in sorted(history.messages, key=lambda one: one.at):
        messages[message.person, purposes.get(message.tag, "login")].append(message)
    for key, found in guesses.items():
        yield messages[key], sorted(found, key=lambda one: one.begun)


def _could_be(history: History, messages: Sequence[Message], guess: Call) -> set[tuple[str, str]]:
    """The codes that may have been the active one when this guess was judged."""
    requests = history.by_request
    ended = guess.ended if guess.ended is not None else float("inf")
    possible = [message for message in messages if message.at <= ended]
    settled = [_settled_at(history, message) for message in possible]
    newest = max((at for at, done in enumerate(settled) if done < guess.begun), default=0)
    found = {(message.tag, message.digits) for message in possible[newest:]}
    asked = requests.get(guess.sent.get("request_id", ""))
    if asked is not None:
        found = {code for code in found if code[0] == asked.tag}
    if guess.verified:
        return {code for code in found if code[1] == guess.sent["code"]}
    unseen = {tag for tag, since in _unseen(history, guess).items() if since <= ended}
    return found | {(tag, "unseen") for tag in unseen if asked is None or tag == asked.tag}


def _unseen(history: History, guess: Call) -> dict[str, float]:
    """Codes that may live though no messenger ever heard of them, and since when: the process died at the wrong moment."""
    subscriber = guess.sent["subscriber_id"]
    person = history.people.get(subscriber)
    seen = Counter(message.tag for message in history.messages)
    found = {
        call.tag: call.begun
        for call in history.of("send")
        if call.sent["subscriber_id"] == subscriber and call.status in (0, 502) and not seen[call.tag]
    }
    acts: dict[str, list[float]] = defaultdict(list)
    for act in history.acts:
        if act.person == person and act.subject in history.by_request and _asks(history, act):
            acts[history.by_request[act.subject].tag].append(act.begun)
    return found | {tag: min(begun) for tag, begun in acts.items() if len(begun) > seen[tag]}


def _settled_at(history: History, message: Message) -> float:
    """From when on the code of this message, and none before it, is certainly the active one; or dead."""
    call = history.asked.get(message.tag)
    if call is None:
        return float("inf")
    if call.kind == "send":
        known = call.status == 200 and call.ended is not None
        return max(call.ended or 0, message.at) if known else float("inf")
    sent_at = history.known_sent.get(call.answer.get("request_id", ""), float("inf"))
    return max(sent_at, message.at)


def budget_holds(history: History) -> Iterator[Broken]:
    """No more wrong guesses in a row than the budget, over all codes and purposes."""
    people = history.people
    guesses: dict[str, list[Call]] = defaultdict(list)
    for call in history.of("verify"):
        guesses[call.sent["subscriber_id"]].append(call)
    for subscriber, calls in guesses.items():
        wrong = [call for call in calls if call.evaluated_wrong]
        for after, before in pairwise(_resets(history, calls, people.get(subscriber, ""))):
            inside = [one for one in wrong if one.begun >= after[1] and (one.ended or 0) <= before[0]]
            if len(inside) > history.budget:
                what = f"{len(inside)} wrong guesses in a row, {history.budget} are allowed"
                yield Broken("2", what, inside)


def _resets(history: History, calls: Sequence[Call], person: str) -> list[tuple[float, float]]:
    """When the count may have begun anew: from, to. A lost right guess may have; Unlock may have, until its answer."""
    codes = {message.digits for message in history.messages if message.person == person}
    far = float("inf")
    taps = [act for act in history.acts if act.person == person and act.verb == "unlock"]
    found = [(act.begun, act.acked if act.acked is not None else far) for act in taps]
    found += [
        (call.begun, call.ended if call.ended is not None else far)
        for call in calls
        if call.verified or (call.status == 0 and call.sent["code"] in codes)
    ]
    found = sorted([*found, (-far, -far), (far, far)])
    ends = [max(end for _, end in found[: at + 1]) for at in range(len(found))]
    return [(begun, end) for (begun, _), end in zip(found, ends, strict=True)]


def newest_code_only(history: History) -> Iterator[Broken]:
    """Once a newer code was acknowledged, the one that it replaced is never accepted."""
    for messages, guesses in _by_purpose(history):
        first: dict[str, int] = {}
        shown: set[tuple[str, str]] = set()
        for at, message in enumerate(messages):
            if (message.tag, message.digits) not in shown:  # not the same code once more
                shown.add((message.tag, message.digits))
                first[message.digits] = at
        for guess in (one for one in guesses if one.verified and one.sent["code"] in first):
            newer = [
                message
                for message in messages[first[guess.sent["code"]] + 1 :]
                if message.digits != guess.sent["code"] and _settled_at(history, message) < guess.begun
            ]
            if newer:
                yield Broken("3", "a replaced code was accepted", [*messages, guess])


def dead_by_time(history: History) -> Iterator[Broken]:
    """No code is accepted after its time."""
    for messages, guesses in _by_purpose(history):
        for guess in (one for one in guesses if one.verified):
            same = [one for one in messages if one.digits == guess.sent["code"] and one.tag in history.asked]
            ends = [
                one.at + ORPHAN_MS + MINUTE_MS * history.asked[one.tag].sent.get("ttl_minutes", 5)
                for one in same
            ]
            if ends and guess.begun > max(ends):
                yield Broken("8", "a code was accepted after its time", [*same, guess])


# ------------------------------------------------------------------ requests and subscribers


def _differs(first: Mapping[str, Any], later: Mapping[str, Any]) -> bool:
    """Whether a status says something else than before; what came with a release, the one before does not tell."""
    return any(
        first.get(name) != later.get(name)
        for name in {*first, *later}
        if name not in ADDED or (name in first and name in later)
    )


def final_stays(history: History) -> Iterator[Broken]:
    """A final status, once acknowledged, never changes, nor does the subscriber; a request never vanishes."""
    for request_id in history.by_request:
        reads = [one for one in history.of("status") if one.sent["request_id"] == request_id and one.status]
        for read in reads:
            if read.status == 404:
                yield Broken("4", "an acknowledged request is gone", [read])
        finals = [one for one in reads if one.answer.get("status") in FINAL]
        if not finals:
            continue
        first = min(finals, key=lambda one: one.ended or 0)
        other = [
            one
            for one in reads
            if one.status == 200 and one.begun > (first.ended or 0) and _differs(first.answer, one.answer)
        ]
        if other:
            yield Broken("4", "a final status changed", [first, other[0]])


def subscription_stays(history: History) -> Iterator[Broken]:
    """After an acknowledged consent the subscriber can get codes; after an acknowledged leave not, until the next one."""
    for subscriber, person in history.people.items():
        acts = [act for act in history.acts if act.person == person]
        sends = [one for one in history.of("send") if one.sent["subscriber_id"] == subscriber]
        for send in sends:
            last = _last_certain(acts, send)
            if last is None:
                continue
            if last.verb == "yes" and send.status == 404 and _was_consent(history, last):
                yield Broken("4", "an acknowledged consent was forgotten", [*acts, send])
            if last.verb in ("leave", "gone") and send.status == 200:
                yield Broken("4", "an acknowledged leave was forgotten", [*acts, send])


def _was_consent(history: History, act: Act) -> bool:
    """Whether the request was still open for this person: its code came after the tap."""
    call = history.by_request.get(act.subject)
    return any(
        call is not None and (one.tag, one.person) == (call.tag, act.person) and one.at >= act.begun
        for one in history.messages
    )


def _last_certain(acts: Sequence[Act], send: Call) -> Act | None:
    """The act that decides, if all is sure: it was acknowledged before, and nothing else came near."""
    relevant = [act for act in acts if act.verb in ("yes", "leave", "gone")]
    before = [act for act in relevant if act.begun <= (send.ended or float("inf"))]
    last = max(before, key=lambda act: act.begun, default=None)
    if last is None or any(act.acked is None or act.acked >= send.begun for act in before):
        return None
    overlaps = any(act is not last and (act.acked or 0) >= last.begun for act in before)
    return None if overlaps else last


def ids_are_stable(history: History) -> Iterator[Broken]:
    """One subscriber id for a person, the same after every restart and return."""
    known: dict[str, Call] = {}
    for call in history.of("status"):
        asked = history.by_request.get(call.sent["request_id"])
        person = history.chats.get(asked.tag) if asked is not None else None
        if "subscriber_id" not in call.answer or person is None:
            continue
        first = known.setdefault(person, call)
        if call.answer["subscriber_id"] != first.answer["subscriber_id"]:
            yield Broken("subscribers", "a second id for one person", [first, call])


def nobody_is_stuck(history: History) -> Iterator[Broken]:
    """Every pending request can be finished by the person after the last restart."""
    for tag in history.stuck:
        call = history.asked.get(tag)
        entries: list[Entry] = [one for one in history.messages if one.tag == tag]
        if call is not None:
            entries += [call, *(act for act in history.acts if act.subject == call.answer.get("request_id"))]
        yield Broken("5", f"nobody could finish {tag}", entries)


# ------------------------------------------------------------------ messages


def sent_means_sent(history: History) -> Iterator[Broken]:
    """An acknowledged send is exactly one message, a certain failure none, and a `sent` request has its code in a chat."""
    took = Counter(message.tag for message in history.messages if message.took)
    repeats = Counter(act.subject for act in history.acts if act.verb == "repeat")
    for call in history.of("send"):
        mine = [message for message in history.messages if message.tag == call.tag]
        if call.status == 200 and not 1 <= took[call.tag] <= 1 + repeats[call.tag]:
            yield Broken("5", f"sent, and {took[call.tag]} messages", [call, *mine])
        certain = call.status in UNDELIVERED and call.answer.get("code") != "storage_unavailable"
        if certain and took[call.tag]:
            yield Broken("5", f"told that nothing was sent, and {took[call.tag]} messages", [call, *mine])
    requests = history.by_request
    for call in history.of("status"):
        asked = requests.get(call.sent["request_id"])
        if call.answer.get("status") == "sent" and asked is not None and not took[asked.tag]:
            yield Broken("5", "a false `sent`", [asked, call])


def one_message_each(history: History) -> Iterator[Broken]:
    """At most one code message per send and per act of the person, lost calls too."""
    took = Counter(message.tag for message in history.messages if message.took)
    asks = Counter(act.subject for act in history.acts if _asks(history, act))
    for call in history.of("request", "send"):
        own = 1 if call.kind == "send" else asks[call.answer.get("request_id", "lost")]
        most = own + asks[call.tag]  # a code message that was asked for once more
        if took[call.tag] > most:
            mine = [message for message in history.messages if message.tag == call.tag]
            about = (call.tag, call.answer.get("request_id"))
            acts = [act for act in history.acts if act.subject in about]
            yield Broken("5", f"{took[call.tag]} messages for {most}", [call, *mine, *acts])


def _asks(history: History, act: Act) -> bool:
    """Whether this may bring a code: opening does so only for somebody who may have subscribed before."""
    if act.verb != "open":
        return act.verb in ASKS
    until = act.acked if act.acked is not None else float("inf")
    return any(one.verb == "yes" and one.person == act.person and one.begun <= until for one in history.acts)


def right_person(history: History) -> Iterator[Broken]:
    """A code goes only to the person whom it belongs to: the subscriber, or the one who consented first."""
    people = history.people
    for tag, call in history.asked.items():
        mine = [message for message in history.messages if message.tag == tag]
        got = {message.person for message in mine}
        if call.kind == "send":
            allowed = {people.get(call.sent["subscriber_id"], "")}
        else:
            acts = [act for act in history.acts if act.subject == call.answer.get("request_id")]
            allowed = {act.person for act in acts if act.verb in ASKS}
        if len(got) > 1 or not got <= allowed:
            yield Broken("10", f"a code for {sorted(allowed)} went to {sorted(got)}", [call, *mine])
    for message in history.messages:
        if message.tag not in history.asked:
            yield Broken("10", "a code message that nobody asked for", [message])


# ------------------------------------------------------------------ keys


def same_call_same_answer(history: History) -> Iterator[Broken]:
    """A key brings the first answer that is kept, letter by letter, whoever asks and when, and no other call."""
    for call in history.calls:
        if call.kind == "mismatch" and call.status not in (0, 422, 503):
            yield Broken("key", "another call with a key had an answer", [call])
        if not call.key:
            continue
        told = [one for one in call.tries if one.kept]
        if len({(one.status, one.body) for one in told}) > 1:
            yield Broken("key", "two answers of one call", [call])
        elif sum(not one.replayed for one in told) > 1:
            yield Broken("key", "the same call had two effects", [call])
        first = min((one.ended or 0 for one in told), default=float("inf"))
        forgot = [one for one in call.tries if one.begun > first and one.status and not one.replayed]
        if any(one.status not in (429, 503) for one in forgot):
            yield Broken("key", "an answer was forgotten", [call])


# ------------------------------------------------------------------ what is taken back


def cancelled_stays(history: History) -> Iterator[Broken]:
    """A request that was cancelled is so for good: no code of it goes out or is accepted any more."""
    reads: dict[str, list[Call]] = defaultdict(list)
    for read in history.of("status"):
        reads[read.sent["request_id"]].append(read)
    for call in history.of("cancel"):
        known = [one.answer["status"] for one in reads[call.sent["request_id"]] if one.status == 200]
        after = [one for one in reads[call.sent["request_id"]] if one.begun > (call.ended or float("inf"))]
        pending = [one for one in after if one.answer.get("status") == "pending"]
        late = call.answer.get("code") == "request_not_pending"
        if call.status == 200 and ({"sent", "expired"} & {*known} or pending):
            yield Broken("cancel", "what was cancelled is not", [call, *reads[call.sent["request_id"]]])
        elif late and ("cancelled" in known or pending):
            yield Broken("cancel", "what was over is not", [call, *reads[call.sent["request_id"]]])
        elif call.status == 404:
            yield Broken("cancel", "a request is unknown", [call])
        if call.status == 200:
            yield from _nothing_after(history, call)


def _nothing_after(history: History, cancel: Call) -> Iterator[Broken]:
    """No code message of a cancelled request, and none of its codes is accepted."""
    asked, ended = history.by_request[cancel.sent["request_id"]], cancel.ended or float("inf")
    mine = [message for message in history.messages if message.tag == asked.tag]
    late = [message for message in mine if message.at > ended]
    if late:
        yield Broken("cancel", "a code of a cancelled request went out", [asked, cancel, *late])
    for guess in (one for one in history.of("verify") if one.verified and one.begun > ended):
        person, digits = history.people.get(guess.sent["subscriber_id"]), guess.sent["code"]
        same = [one for one in history.messages if (one.person, one.digits) == (person, digits)]
        if same and all(one.tag == asked.tag for one in same):
            yield Broken("cancel", "a code of a cancelled request was accepted", [cancel, *same, guess])


def revoked_is_dead(history: History) -> Iterator[Broken]:
    """What was at a messenger before its purpose was revoked is never accepted afterwards."""
    for call in history.of("revoke"):
        if call.status != 200 or call.ended is None:
            continue
        subscriber, purpose = call.sent["subscriber_id"], call.sent.get("purpose", "login")
        person = history.people.get(subscriber)
        for guess in history.of("verify"):
            about = (guess.sent["subscriber_id"], history.purpose(guess)) == (subscriber, purpose)
            if not (about and guess.verified and guess.begun > call.ended):
                continue
            same = [
                one for one in history.messages if (one.person, one.digits) == (person, guess.sent["code"])
            ]
            if same and all(message.at < call.begun for message in same):
                yield Broken("revoke", "a revoked code was accepted", [*same, call, guess])


# ------------------------------------------------------------------ events


def events_come_once(history: History) -> Iterator[Broken]:
    """Each event is heard at least once, the same under its id every time, and only what the service wrote down."""
    if not history.listens:
        return
    took = {one.id for one in history.heard if one.took}
    for one in history.heard:
        if one.body != history.events[one.id].body:
            yield Broken("events", "another event under the same id", [history.events[one.id], one])
    for id_, one in history.events.items():
        if id_ not in history.outbox:
            yield Broken("events", "an event of what was not committed", [one])
    for id_, state in history.outbox.items():
        if id_ not in took or state != "delivered":
            yield Broken("events", f"{id_} is {state}, heard: {id_ in took}")


def events_are_of_guesses(history: History) -> Iterator[Broken]:
    """One for each acceptance and each wrong guess, and none besides; what an answer was lost of may have brought one."""
    if not history.listens:
        return
    heard = _heard_by(history, "otp.verified", "otp.wrong_code", "otp.exhausted")
    calls: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in history.of("verify"):
        calls[call.sent["subscriber_id"], history.purpose(call)].append(call)
    for about in {*calls, *((subscriber, purpose) for _, subscriber, purpose in heard)}:
        lost = [call for call in calls[about] if call.status in (0, 503)]
        certain = {
            "otp.verified": [call for call in calls[about] if call.verified],
            "otp.wrong_code": [call for call in calls[about] if call.evaluated_wrong],
            "otp.exhausted": [
                call for call in calls[about] if call.evaluated_wrong and not call.answer["attempts_left"]
            ],
        }
        for type_, sure in certain.items():
            found = heard[type_, *about]
            if not len(sure) <= len(found) <= len(sure) + len(lost):
                what = f"{len(found)} times {type_} of {len(sure)}, and {len(lost)} that nobody knows of"
                yield Broken("events", what, [*sure, *lost, *found])


def _heard_by(history: History, *types: str) -> dict[tuple[str, str, str], list[Heard]]:
    """Events by type, subscriber and purpose."""
    found: dict[tuple[str, str, str], list[Heard]] = defaultdict(list)
    for one in history.events.values():
        if one.type in types:
            found[one.type, one.data.get("subscriber_id", ""), one.data.get("purpose", "")].append(one)
    return found


def events_are_of_deliveries(history: History) -> Iterator[Broken]:
    """One for each code that a messenger took and each that came to nothing, as far as it was told, and none besides."""
    if not history.listens:
        return
    heard = _heard_by(history, "otp.sent", "otp.failed")
    sends: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in history.of("send"):
        sends[call.sent["subscriber_id"], history.purpose(call)].append(call)
    repeats = Counter(act.person for act in history.acts if act.verb == "repeat")
    took = Counter(
        (one.person, history.purpose(history.asked[one.tag]))
        for one in history.messages
        if one.took and one.tag in history.asked
    )
    for about in {*sends, *((subscriber, purpose) for _, subscriber, purpose in heard)}:
        sent, failed = heard["otp.sent", *about], heard["otp.failed", *about]
        own = [one for one in sent if "request_id" not in one.data]
        both = len(own) + sum("request_id" not in one.data for one in failed)
        done = sum(call.status == 200 for call in sends[about])
        unknown = sum(call.status == 502 for call in sends[about])
        person = history.people.get(about[0], "")
        most = sum(max(1, len(call.tries)) for call in sends[about]) + repeats[person]
        entries: list[Entry] = [*sends[about], *sent, *failed]
        if len(own) < done or both < done + unknown:
            what = f"{len(own)} sent and {both} settled, of {done} sent and {unknown} unknown"
            yield Broken("events", what, entries)
        if person and (len(sent) > took[person, about[1]] or both > most):
            what = (
                f"{len(sent)} sent and {both} settled, of {took[person, about[1]]} messages and {most} wishes"
            )
            yield Broken("events", what, entries)


def events_are_of_requests(history: History) -> Iterator[Broken]:
    """A request that was sent or cancelled has its one event, and no other request has."""
    if not history.listens:
        return
    ends: dict[str, str] = {}
    for call in history.of("status", "cancel"):
        if call.status == 200 and call.answer["status"] in FINAL:
            ends[call.sent["request_id"]] = call.answer["status"]
    found: dict[tuple[str, str], list[Heard]] = defaultdict(list)
    for one in history.events.values():
        if "request_id" in one.data and one.type in ("otp.sent", "otp.cancelled", "otp.expired"):
            found[one.data["request_id"], one.type].append(one)
    for request_id in {*ends, *(request_id for request_id, _ in found)}:
        for end in FINAL:
            told = found[request_id, f"otp.{end}"]
            if len(told) != (ends.get(request_id) == end):
                asked = history.by_request.get(request_id)
                what = f"{len(told)} times otp.{end} of a request that is {ends.get(request_id)}"
                yield Broken("events", what, [*([asked] if asked else []), *told])


def events_are_of_people(history: History) -> Iterator[Broken]:
    """Who joined may leave, and who was locked may unlock: never twice in a row, and nobody is unheard of."""
    if not history.listens:
        return
    heard = Counter((one.type, one.data.get("subscriber_id", "")) for one in history.events.values())
    for subscriber in {*history.people, *(subscriber for _, subscriber in heard if subscriber)}:
        for begin, end in (("joined", "left"), ("locked", "unlocked")):
            begun, over = heard[f"subscriber.{begin}", subscriber], heard[f"subscriber.{end}", subscriber]
            first = begin == "joined" and not begun
            if first or begun - over not in (0, 1):
                yield Broken("events", f"{subscriber} {begin} {begun} times and {end} {over} times")
    for one in history.events.values():
        if one.type in ("otp.reported", "subscriber.relinked"):
            yield Broken("events", "nobody did this", [one])


# ------------------------------------------------------------------ the rest


def updates_acknowledged(history: History) -> Iterator[Broken]:
    """An update is acknowledged with 200, or not at all; in the end every one is."""
    for act in history.acts:
        strange = [one for one in act.attempts if isinstance(one, int) and one not in (200, 503)]
        if strange or 200 not in act.attempts:
            yield Broken("6", f"an update was answered {act.attempts}", [act])


def projects_apart(history: History) -> Iterator[Broken]:
    """Another project's key sees nothing."""
    for call in history.of("foreign"):
        blind = call.answer.get("reason") == "no_active_code" or call.status in (0, 404)
        if not blind:
            yield Broken("7", "another project's call had an effect", [call])


def no_bugs(history: History) -> Iterator[Broken]:
    """No 500, no error in the log, no secret in what was written."""
    for call in history.calls:
        if call.status == 500:
            yield Broken("answers", "an internal error", [call])
    for line in history.errors:
        yield Broken("answers", line)
    for leak in history.leaks:
        yield Broken("9", leak)


CHECKS: Sequence[Callable[[History], Iterator[Broken]]] = (
    accepted_once,
    attempts_bounded,
    budget_holds,
    newest_code_only,
    dead_by_time,
    final_stays,
    subscription_stays,
    ids_are_stable,
    nobody_is_stuck,
    sent_means_sent,
    one_message_each,
    right_person,
    same_call_same_answer,
    cancelled_stays,
    revoked_is_dead,
    events_come_once,
    events_are_of_guesses,
    events_are_of_deliveries,
    events_are_of_requests,
    events_are_of_people,
    updates_acknowledged,
    projects_apart,
    no_bugs,
)
