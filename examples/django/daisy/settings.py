"""Settings of the example. What a real site must set for itself stands in the environment."""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

BASE = Path(__file__).parent.parent
PAGE = BASE.parent / "page"

TAPCODE_API_KEY = os.environ.get("TAPCODE_API_KEY", "")
TAPCODE_URL = os.environ.get("TAPCODE_URL", "http://localhost:8080")

SECRET_KEY = (
    os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
)  # a new one at each start ends all sessions
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")
HTTPS = os.environ.get("DJANGO_HTTPS") == "1"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "accounts",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
AUTHENTICATION_BACKENDS = ["accounts.backend.TapcodeBackend"]

ROOT_URLCONF = "daisy.urls"
WSGI_APPLICATION = "daisy.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [PAGE]}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DJANGO_DATABASE", BASE / "db.sqlite3"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TIME_ZONE = "UTC"
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LANGUAGE_CODE = "en"

SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"  # no other host of the domain can set it
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_USE_SESSIONS = True  # the token lies in the session, and the page alone is told it
SECURE_REFERRER_POLICY = "same-origin"
