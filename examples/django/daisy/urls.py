"""The addresses of the site; the same as in the other examples, as they share their page."""

from accounts import views
from django.conf import settings
from django.urls import path
from django.views.static import serve

urlpatterns = [
    path("", views.page),
    path("login/start", views.start),
    path("login/current", views.current),
    path("login/status", views.status),
    path("login/verify", views.verify),
    path("payment/start", views.payment_start),
    path("payment/verify", views.payment_verify),
    path("logout", views.sign_out),
    path("static/<path:path>", serve, {"document_root": settings.PAGE}),  # in production: the web server
]
