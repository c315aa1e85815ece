"""Signs a user in by a code from the messenger, with all that Django does at a login."""

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, User
from django.db import transaction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from tapcode_client import Status, Verification

from accounts.models import Messenger
from accounts.tapcode import tapcode

REQUEST = "tapcode_request"
"""In the session: the request that this browser made."""


class Reported(Exception):
    """The person said in the chat that it was not them."""


class TapcodeBackend(ModelBackend):
    """`authenticate(request, secret_code=...)`. Users, groups and permissions are those of ModelBackend.

    The argument has "secret" in its name, so Django blacks it out in the signal `user_login_failed`. What tapcode said is
    left in `request.tapcode_result` for the view (None: this browser has no code to wait for). Raises TapcodeError, and
    Reported.
    """

    @sensitive_variables("secret_code")
    def authenticate(self, request: HttpRequest | None, *, secret_code: str) -> AbstractBaseUser | None:
        """The user whose code it is, of the request that the session holds and no other."""
        request_id = None if request is None else request.session.get(REQUEST)
        if request is None or request_id is None:
            return None
        status = tapcode().status(request_id)
        if status.reported:
            raise Reported
        if status.subscriber_id is None:
            return None
        result = tapcode().verify(secret_code, subscriber_id=status.subscriber_id, request_id=request_id)
        request.tapcode_result = result
        if not result.verified:
            return None
        user = user_of(status)
        return user if self.user_can_authenticate(user) else None


def result_of(request: HttpRequest) -> Verification | None:
    """What tapcode said about the code of this call."""
    return getattr(request, "tapcode_result", None)


def user_of(status: Status) -> User:
    """Who that subscriber is here; somebody new gets an account."""
    with transaction.atomic():
        known = Messenger.objects.select_related("user").filter(subscriber_id=status.subscriber_id).first()
        if known is not None:
            return known.user
        user = User.objects.create_user(
            f"{status.channel}-{str(status.subscriber_id)[:8]}"
        )  # without a password
        Messenger.objects.create(user=user, subscriber_id=status.subscriber_id, channel=status.channel)
        return user
