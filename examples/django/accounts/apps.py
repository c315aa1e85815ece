"""The app that signs people in."""

from django.apps import AppConfig


class Accounts(AppConfig):
    """Its configuration."""

    name = "accounts"
