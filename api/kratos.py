"""The HTTP courier channel of Ory Kratos: its codes go to linked accounts. Declared as `api.operations` declares others."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints

from api import schemas
from api.operations import Later, Operation
from otp.given import GivenCode, GivenCodes
from otp.model import Caller, Delivery
from otp.service import OtpService

SOURCE: Final = "kratos"
MOST_MINUTES: Final = 12 * 60
"""The message tells them: a number of four digits beside the code could be taken for one."""

TemplateType = Literal[
    "login_code_valid", "registration_code_valid", "verification_code_valid", "recovery_code_valid"
]
"""Kratos' templates that hold a code."""
Code = Annotated[
    str,
    StringConstraints(pattern="^[0-9A-Za-z]{4,16}$"),
    Field(repr=False, description="The code, with the `template_type` of its name", examples=["482916"]),
]


def _absent() -> Any:
    """The value of a field that was not given; `null` is refused all the same."""
    return None


def _code_field(template_type: str) -> str:
    """`login_code_valid` brings `login_code`."""
    return template_type.removesuffix("_valid")


FIELDS: Final = tuple(_code_field(one) for one in get_args(TemplateType))


class CourierBody(schemas.Body):
    """A message of Kratos, in its own words: what `docs/kratos.md` makes of `ctx`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "properties": {"template_type": {"const": one}}
                    | {name: False for name in FIELDS if name != _code_field(one)},
                    "required": [_code_field(one)],
                }
                for one in get_args(TemplateType)
            ]
        }
    )
    recipient: Annotated[
        schemas.ExternalId,
        Field(description="Kratos' address of the person: the `external_id`", examples=["+79161234567"]),
    ]
    template_type: TemplateType
    login_code: Code = Field(default_factory=_absent)
    registration_code: Code = Field(default_factory=_absent)
    verification_code: Code = Field(default_factory=_absent)
    recovery_code: Code = Field(default_factory=_absent)
    expires_in_minutes: int = Field(ge=1, le=MOST_MINUTES, description="How long the code lives at most")

    def wrong_together(self) -> tuple[str, str] | None:
        """The code of the template must be there, and no other one."""
        wanted = _code_field(self.template_type)
        if wanted not in self.model_fields_set:
            return wanted, f"is required with {self.template_type}"
        others = sorted(self.model_fields_set & set(FIELDS) - {wanted})
        return (others[0], f"does not belong to {self.template_type}") if others else None

    @property
    def code(self) -> str:
        """The code that is there."""
        return str(getattr(self, _code_field(self.template_type)))


class Couriered(schemas.Answer):
    """Nothing is left to be done: Kratos must not send this message again."""

    status: Literal["sent", "unknown"] = Field(
        description="`unknown`: the messenger did not say whether it took the message, which may have arrived"
    )
    channel: schemas.ChannelName
    subscriber_id: schemas.SubscriberId


def _given(body: CourierBody) -> GivenCode:
    wanted_for = _code_field(body.template_type).removesuffix("_code")
    return GivenCode(body.code, SOURCE, wanted_for, body.expires_in_minutes)


async def _begin(service: OtpService, caller: Caller, body: CourierBody) -> Delivery:
    return await GivenCodes(service).claim(caller, body.recipient, _given(body))


async def _follow(service: OtpService, caller: Caller, body: CourierBody, settled: Delivery) -> Delivery:
    return await GivenCodes(service).claim(caller, body.recipient, _given(body), after=settled)


async def _tell(
    service: OtpService, caller: Caller, _body: CourierBody, settled: Delivery | None
) -> dict[str, Any]:
    handed = await GivenCodes(service).told(caller, settled)
    status = "sent" if handed.certainly else "unknown"
    return {"status": status, "channel": handed.channel, "subscriber_id": handed.subscriber_id}


def _own_key(body: CourierBody) -> tuple[str, ...]:
    """Kratos tells no id of its message; a retry has the same code, and another message another one."""
    return body.template_type, body.recipient, body.code


COURIER: Final = Operation(
    "courierKratos",
    "POST",
    "/v1/kratos/courier",
    "Deliver a code of Ory Kratos",
    "Sends Kratos' own code to whoever is linked to the account named by `recipient`. It is not verified here. The same "
    "message again within 24 hours gets the same answer and is not sent again.",
    (Couriered,),
    (
        "subscriber_not_found",
        "send_in_progress",
        "subscriber_locked",
        "idempotency_in_progress",
        "code_not_delivered",
        "messenger_unavailable",
    ),
    run=None,
    body=CourierBody,
    later=Later(_begin, _tell, _follow),
    takes_key=False,
    own_key=_own_key,
)
