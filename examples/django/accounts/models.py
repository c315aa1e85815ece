"""Which subscriber of tapcode is which user of the site."""

from django.conf import settings
from django.db import models


class Messenger(models.Model):
    """A messenger of a user. Written only after `verified: true`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    subscriber_id = models.UUIDField(unique=True)
    channel = models.CharField(max_length=16)

    def __str__(self) -> str:
        return f"{self.channel} of user {self.user_id}"
