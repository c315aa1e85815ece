"""The client, one for the process."""

from functools import cache

from django.conf import settings
from tapcode_client import Tapcode


@cache
def tapcode() -> Tapcode:
    """It gives up before a person does, and threads may share it."""
    return Tapcode(settings.TAPCODE_API_KEY, settings.TAPCODE_URL, deadline=25)
