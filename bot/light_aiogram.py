"""aiogram with each of its models built when it is first used, not all 450 at import: that takes 2 s of CPU and 100 MB.

aiogram declares its models as ones to be built later, and then builds them all at the end of its import, as only there
are all the names at hand that they refer to each other by. Here that is held off, and the names are kept for later.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from pydantic import BaseModel

_names: dict[str, Any] = {}
_build = BaseModel.__dict__["model_rebuild"].__func__


def _note(_model: type[BaseModel], /, *, _types_namespace: dict[str, Any] | None = None, **_: Any) -> None:
    """Stands in for `model_rebuild` while aiogram is imported."""
    _names.update(_types_namespace or {})


def _build_with_names(model: type[BaseModel], /, **how: Any) -> bool | None:
    """Stands in for `model_rebuild` from then on: pydantic calls it where a model is first used."""
    built: bool | None = _build(model, **{"_types_namespace": _names, **how})
    return built


with patch.object(BaseModel, "model_rebuild", classmethod(_note)):
    from aiogram.client.context_controller import BotContextController
    from aiogram.methods import Response

if _names:  # aiogram was not there before
    for _base in (BotContextController, Response):  # of all types and methods; of all answers
        setattr(_base, "model_rebuild", classmethod(_build_with_names))  # noqa: B010  # mypy knows it for a method

from aiogram.methods import AnswerCallbackQuery, EditMessageText, SendMessage  # noqa: E402  # as above
from aiogram.types import Message  # noqa: E402

for _model in (AnswerCallbackQuery, EditMessageText, SendMessage, Message):
    _model.model_rebuild()  # the first code does not wait for these
