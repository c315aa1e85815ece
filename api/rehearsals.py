"""The calls of test mode, which play the person of a request: declared as `api.operations` declares the others."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from api import schemas
from api.operations import Later, Operation
from api.status import body
from otp.model import Caller, Delivery
from otp.rehearsal import Act, Rehearsal

_PLAYS: Final = {
    Act.CONSENT: (
        'Press "Get the code"',
        "The code is delivered to nobody: it is the first digits of 42424242.",
    ),
    Act.CANCEL: ('Press "Cancel"', "The request is cancelled by its person."),
    Act.REPORT: ('Press "It wasn\'t me" under the code', "The code dies, and the status says `reported`."),
    Act.PHONE: (
        'Press "Share my number"',
        "The number is +12025550142; a status read tells it, once.",
    ),
    Act.SKIP: ('Press "Skip"', "The person keeps their number to themselves."),
    Act.EXPIRE: ("Let the time of a request be over", "As if its 15 minutes had passed."),
}


async def _play(
    rehearsal: Rehearsal, caller: Caller, _body: schemas.PlayBody, request_id: str, *, act: Act
) -> dict[str, Any]:
    return body(await rehearsal.play(caller, request_id, act))


async def _begin(
    rehearsal: Rehearsal, caller: Caller, _body: schemas.PlayBody, request_id: str, *, act: Act
) -> Delivery | dict[str, Any]:
    delivery = await rehearsal.begin(caller, request_id, act)
    return delivery if delivery is not None else body(await rehearsal.state(caller, request_id))


async def _told(
    rehearsal: Rehearsal, caller: Caller, _body: schemas.PlayBody, _settled: Delivery | None, request_id: str
) -> dict[str, Any]:
    return body(await rehearsal.state(caller, request_id))


REHEARSALS: Final = tuple(
    Operation(
        f"play{act.title()}",
        "POST",
        f"/v1/test/request/{{request_id}}/{act}",
        f"Test mode: {summary[0].lower()}{summary[1:]}",
        f"With a `tc_test_` key only. {description} Answers with the status that follows.",
        (schemas.Status,),
        ("request_not_found", "request_not_pending", "send_in_progress"),
        partial(_play, act=act),
        schemas.PlayBody,
        body_optional=True,
        later=Later(partial(_begin, act=act), _told),
    )
    for act, (summary, description) in _PLAYS.items()
)
