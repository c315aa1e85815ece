"""django-otp over SQLite: a code that was sent by mail, judged by the library itself, in its own transaction.

Django's settings are what its documentation advises for SQLite under load (WAL, immediate transactions), and each
commit is on disk before it is answered. `python -m bench.rivals.django_otp_email` makes the tables.
"""

from __future__ import annotations

import json
import os

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            },
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django_otp",
        "django_otp.plugins.otp_email",
    ],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # it says how long an answer is
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["API_KEY"],
    USE_TZ=True,
)
django.setup()

from datetime import timedelta  # noqa: E402  # Django is set up before anything of it is imported
from hmac import compare_digest  # noqa: E402

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_otp import verify_token  # noqa: E402
from django_otp.plugins.otp_email.models import EmailDevice  # noqa: E402


def verify(request: HttpRequest) -> HttpResponse:
    """Judge what a person entered."""
    if not compare_digest(request.headers["Authorization"], f"Bearer {settings.SECRET_KEY}"):
        return HttpResponse(status=401)
    guess = json.loads(request.body)
    user = User.objects.get(pk=guess["subscriber_id"])
    device = verify_token(user, f"otp_email.emaildevice/{guess['subscriber_id']}", guess["code"])
    return JsonResponse({"verified": device is not None})


urlpatterns = [path("verify", verify)]
application = get_wsgi_application()


def fill(codes: list[str]) -> None:
    """A person and a device for each code; ids from 1."""
    call_command("migrate", verbosity=0)
    ends = timezone.now() + timedelta(hours=1)
    numbered = list(enumerate(codes, 1))
    User.objects.bulk_create([User(pk=n, username=str(n)) for n, _ in numbered], batch_size=5_000)
    devices = [
        EmailDevice(pk=n, user_id=n, name="mail", token=code, valid_until=ends) for n, code in numbered
    ]
    EmailDevice.objects.bulk_create(devices, batch_size=5_000)


if __name__ == "__main__":
    import sys

    fill(json.load(sys.stdin))
