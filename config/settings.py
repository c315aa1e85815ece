"""Every setting of the service, from the environment or `.env`; see `.env.example`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

Command = Literal["serve", "sandbox", "cli"]

ENV_FILE: Final = ".env"
UNREADABLE: Final = f"can't read {ENV_FILE}"
SECRET_KEY_LENGTH: Final = 32
WEBHOOK_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{16,256}", re.ASCII)
"""Telegram allows 1-256 of these characters, MAX 5-256; fewer than 16 would be guessable."""
API_KEY: Final = re.compile(r"tc_(live|test)_[A-Za-z0-9_-]{32,200}", re.ASCII)
TELEGRAM_TOKEN: Final = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{8,}", re.ASCII)
MAX_TOKEN: Final = re.compile(r"[!-~]{8,}", re.ASCII)
METRICS_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{16,200}", re.ASCII)
"""What a bearer token may be made of (RFC 6750)."""
BOT_NAME: Final = re.compile(r"[A-Za-z0-9_]{3,64}", re.ASCII)
HTTPS_PORT: Final = 443
_ALIKE: Final = 0.8
"""From there on one name is taken for another one that was mistyped."""
_REMARKED: Final = re.compile(
    r"""^[^\S\n]*(?:export[^\S\n]+)?(\w+)[^\S\n]*=[^\S\n]*(?:'[^'\n]*'|"(?:[^"\\\n]|\\.)*"|[^'"\s][^\n]*?)?[^\S\n]+\#""",
    re.MULTILINE,
)
"""A line of `.env` with a remark behind its value."""
TELEGRAM_PORTS: Final = (HTTPS_PORT, 80, 88, 8443)


def _matching(pattern: re.Pattern[str], message: str) -> AfterValidator:
    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is not None and pattern.fullmatch(text) is None:
            raise ValueError(message)
        return value

    return AfterValidator(check)


def is_loopback(host: str | None) -> bool:
    """Whether only this machine comes there."""
    if host in (None, ""):
        return False
    if host == "localhost":
        return True
    try:
        return ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _url(value: str, schemes: tuple[str, ...], *, bare: bool) -> str:
    """A checked URL without its trailing slash."""
    parts = urlsplit("")
    try:
        parts = urlsplit(value)
        sound = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # its text holds the URL, and a proxy's URL holds a password
        sound = False
    if not sound or re.search(r"\s", value):
        raise ValueError(
            f"must be a URL that begins with {' or '.join(scheme + '://' for scheme in schemes)}"
        ) from None
    if bare and (parts.query or parts.fragment or parts.username or parts.password):
        raise ValueError("must be a plain URL without user, query or fragment")
    return value.rstrip("/")


def _public_url(value: str | None) -> str | None:
    return None if value is None else _url(value, ("https",), bare=True)


def _api_url(value: str) -> str:
    return _url(value, ("https", "http"), bare=True)


def _proxy_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        _url(value.get_secret_value(), ("http", "https"), bare=False)
    return value


def _secret_keys(value: SecretStr | None) -> SecretStr | None:
    for number, key in enumerate(_split(value), 1):
        if len(key) < SECRET_KEY_LENGTH:
            raise ValueError(
                f"key {number} of the list has fewer than the {SECRET_KEY_LENGTH} characters it needs"
            )
    return value


def _database_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if url.startswith("sqlite:///") and url.removeprefix("sqlite:///") not in ("", ":memory:"):
        return value
    if is_postgres(url):
        return value
    raise ValueError("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


def _direct_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not is_postgres(value.get_secret_value()):
        raise ValueError("must be postgresql://USER:PASSWORD@HOST/DATABASE")
    return value


def is_postgres(url: str) -> bool:
    """Whether a URL is that of a PostgreSQL database."""
    try:  # the text of the error would hold the password
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("postgresql", "postgres")
        and bool(parts.path.strip("/"))
        and not re.search(r"\s", url)
    )


def _trusted_proxies(value: str | None) -> str | None:
    for one in _listed(value):
        try:
            ip_network(one)
        except ValueError:
            raise ValueError(
                f"{one[:50]!r} is no address or network such as 127.0.0.1 or 10.0.0.0/8"
            ) from None
    return value


def _listed(value: str | None) -> list[str]:
    return [one.strip() for one in (value or "").split(",") if one.strip()]


def _split(value: SecretStr | None) -> list[str]:
    return _listed(value.get_secret_value()) if value else []


def _password(url: SecretStr | None) -> list[str]:
    """A URL's password, as it stands there and as it is."""
    found = urlsplit(url.get_secret_value()).password if url is not None else None
    return list(dict.fromkeys((found, unquote(found)))) if found else []


_LOWER = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
PublicUrl = Annotated[str | None, AfterValidator(_public_url)]
ApiUrl = Annotated[str, AfterValidator(_api_url)]
ProxyUrl = Annotated[SecretStr | None, AfterValidator(_proxy_url)]
WebhookSecret = Annotated[
    SecretStr | None, _matching(WEBHOOK_SECRET, "must be 16 to 256 characters of A-Z a-z 0-9 _ and -")
]
BotName = Annotated[str | None, _matching(BOT_NAME, "must be the bot's user name without @")]


class Settings(BaseSettings):
    """All settings. An empty value counts as not set."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = SecretStr("sqlite:///data/tapcode.db")
    database_pool_size: int = Field(default=10, ge=1, le=1000)
    database_statement_cache: int = Field(default=100, ge=0, le=10_000)
    database_direct_url: Annotated[SecretStr | None, AfterValidator(_direct_url)] = None
    secret_keys: Annotated[SecretStr | None, AfterValidator(_secret_keys)] = None
    public_url: PublicUrl = None

    telegram_bot_token: Annotated[
        SecretStr | None, _matching(TELEGRAM_TOKEN, "must look like 123456789:AAbb…, as BotFather gave it")
    ] = None
    max_bot_token: Annotated[SecretStr | None, _matching(MAX_TOKEN, "must be the token as MAX gave it")] = (
        None
    )
    telegram_api_url: ApiUrl = "https://api.telegram.org"
    max_api_url: ApiUrl = "https://platform-api2.max.ru"
    allow_insecure_api_url: bool = False
    telegram_proxy_url: ProxyUrl = None
    max_proxy_url: ProxyUrl = None
    telegram_webhook_secret: WebhookSecret = None
    max_webhook_secret: WebhookSecret = None
    telegram_bot_username: BotName = None
    max_bot_username: BotName = None
    webhooks_register_on_start: bool | None = None

    project_name: str | None = None
    project_description: str = ""
    project_api_key: Annotated[
        SecretStr | None,
        _matching(API_KEY, "must be tc_live_ and 32 to 200 characters of A-Z a-z 0-9 _ and -"),
    ] = None

    profile: Annotated[Literal["standard", "strict"], _LOWER] = "standard"
    max_ttl_minutes: int = Field(default=30, ge=1, le=30)
    send_limit: int = Field(default=5, ge=1, le=1_000_000)
    send_window_seconds: int = Field(default=600, ge=1, le=86_400)
    guess_budget: int = Field(default=50, ge=1, le=100)
    requests_per_minute: int = Field(default=3000, ge=1)
    status_reads_per_minute: int = Field(default=120, ge=1)
    waiters_per_key: int = Field(default=10_000, ge=1)
    replies_per_minute: int = Field(default=20, ge=1)
    events_allow_private: bool = False
    retention_days: int | None = Field(default=None, ge=1, le=3650)
    docs: bool = True
    trusted_proxies: Annotated[str | None, AfterValidator(_trusted_proxies)] = None

    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    metrics_token: Annotated[
        SecretStr | None,
        _matching(METRICS_TOKEN, "must be 16 to 200 characters of A-Z a-z 0-9 . _ ~ + / = -"),
    ] = None

    log_level: Annotated[Literal["debug", "info", "warning", "error"], _LOWER] = "info"
    log_format: Annotated[Literal["json", "console"] | None, _LOWER] = None

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if isinstance(value, str) and any("\ud800" <= ch <= "\udfff" for ch in value):
            raise ValueError("is not UTF-8 text")
        return value

    @property
    def keys(self) -> list[str]:
        """The secret keys, in order."""
        return _split(self.secret_keys)

    @property
    def proxies(self) -> list[IPv4Network | IPv6Network]:
        """The networks of proxies whose word about a client's address counts."""
        return [ip_network(one) for one in _listed(self.trusted_proxies)]

    @property
    def measures(self) -> bool:
        """Whether there is a /metrics anywhere."""
        return self.metrics_port is not None or self.metrics_token is not None

    @property
    def registers_webhooks(self) -> bool:
        """Whether webhooks are registered at start and kept registered."""
        wanted = self.webhooks_register_on_start
        return self.public_url is not None and wanted is not False

    @property
    def secrets(self) -> list[str]:
        """Every secret among the settings, for the log to hide."""
        named = [name for name in type(self).model_fields if not name.startswith("database_")]
        values = [getattr(self, name) for name in named]
        hidden = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        return [
            *self.keys,
            *hidden,
            *(word for url in (self.database_url, self.database_direct_url) for word in _password(url)),
        ]


def defaults_but(given: Mapping[str, Any]) -> Settings:
    """Settings that no environment and no `.env` have a say in."""
    untouched = {name: field.default for name, field in Settings.model_fields.items()}
    return Settings(_env_file=None, **{**untouched, **given})


class SettingsError(Exception):
    """The settings are unsafe or incomplete; one line per problem, none of which holds a value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def load(command: Command, environ: Mapping[str, Any] | None = None) -> Settings:
    """Read and judge the settings for a command. `environ` overrides what is found. Raises `SettingsError`."""
    settings, problems = judged(command, environ)
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def judged(command: Command, environ: Mapping[str, Any] | None = None) -> tuple[Settings | None, list[str]]:
    """The settings, with defaults where they are ill, and a line per problem; None when nothing can be read."""
    given = dict(environ or {})
    problems: list[str] = []
    unreadable = _unreadable()
    if unreadable is not None:
        given["_env_file"] = None
    try:
        settings = Settings(**given)
    except UnicodeDecodeError:
        return None, [".env: is not UTF-8 text"]
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        problems = [_line(one) for one in found]
        # Judge the rest all the same: an operator wants to hear of everything at once.
        ill = {
            str(one["loc"][0]): Settings.model_fields[str(one["loc"][0])].default
            for one in found
            if one["loc"]
        }
        settings = Settings(**{**given, **ill})
    if unreadable is not None:  # what else is missing may stand there
        return settings, [unreadable, *problems]
    known = {line.partition(":")[0] for line in problems}
    problems += [line for line in _problems(settings, command) if not known & set(_names(line))]
    return settings, problems


def _unreadable() -> str | None:
    """Why nobody who is who we are can read `.env`, in one line; None where it can be read, or is not there."""
    try:
        with Path(ENV_FILE).open("rb"):
            return None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        real = os.path.realpath(ENV_FILE)
        return f"{UNREADABLE} ({real}): {error.strerror}; run this as the service's user, or let that user read it"


def mistyped() -> dict[str, str]:
    """Names in `.env` that are no settings, by the setting that each is nearly one of."""
    known = {name.upper() for name in Settings.model_fields}
    try:
        written = DotEnvSettingsSource(Settings).env_vars
    except (OSError, UnicodeDecodeError):
        return {}
    strangers = sorted({name.upper() for name in written} - known)
    near = {name: get_close_matches(name, known, 1, _ALIKE) for name in strangers}
    return {name: found[0] for name, found in near.items() if found}


def remarked() -> list[str]:
    """The settings in `.env` that have a remark behind their value, which others than we take for a part of it."""
    try:
        written = Path(ENV_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    known = {name.upper() for name in Settings.model_fields}
    names = [name.upper() for name in _REMARKED.findall(written)]
    return [name for name in dict.fromkeys(names) if name in known]


def unread() -> list[int]:
    """The lines of `.env` in which no `NAME=value` can be read. Whoever reads the file tells the log alone."""
    lines: list[int] = []

    def hear(record: logging.LogRecord) -> bool:
        lines.extend(one for one in record.args or () if isinstance(one, int))
        return False

    reader = logging.getLogger("dotenv.main")
    reader.addFilter(hear)
    try:
        DotEnvSettingsSource(Settings)
    except (OSError, UnicodeDecodeError):
        return []
    finally:
        reader.removeFilter(hear)
    return lines


def _names(line: str) -> list[str]:
    """The settings that a line is about."""
    return re.findall(r"[A-Z][A-Z_]+", line.partition(":")[0])


def _line(error: Any) -> str:
    name = str(error["loc"][0]).upper() if error["loc"] else "settings"
    said = error["msg"].removeprefix("Value error, ")
    return f"{name}: {said[:1].lower()}{said[1:]}"


def _problems(settings: Settings, command: Command) -> Iterator[str]:
    if command == "sandbox":
        yield from _sandbox_problems(settings)
    else:
        yield from _url_problems(settings)
    if command == "serve":
        yield from _serve_problems(settings)


def _sandbox_problems(settings: Settings) -> Iterator[str]:
    for name in ("telegram_bot_token", "max_bot_token", "public_url"):
        if getattr(settings, name) is not None:
            yield f"{name.upper()}: is set; the sandbox never runs beside real bots: use `python main.py serve`"
    if not is_loopback(settings.host):
        yield "HOST: the sandbox listens on this machine only (127.0.0.1, localhost or ::1)"


def _serve_problems(settings: Settings) -> Iterator[str]:
    if not settings.keys:
        yield (
            f"SECRET_KEYS: is required: one key of {SECRET_KEY_LENGTH} characters or more, for example the output of "
            '`python3 -c "import secrets; print(secrets.token_urlsafe(36))"`'
        )
    if settings.telegram_bot_token is None and settings.max_bot_token is None:
        yield "TELEGRAM_BOT_TOKEN or MAX_BOT_TOKEN: at least one is required"
    if settings.metrics_port == settings.port:
        yield "METRICS_PORT: is PORT; METRICS_TOKEN alone serves /metrics there"
    if (settings.project_name is None) != (settings.project_api_key is None):
        yield "PROJECT_NAME and PROJECT_API_KEY: set both or neither"
    if settings.project_api_key is not None and not settings.project_api_key.get_secret_value().startswith(
        "tc_live_"
    ):
        yield "PROJECT_API_KEY: must be a live key (tc_live_…); test keys work in the sandbox only"


def _url_problems(settings: Settings) -> Iterator[str]:
    for name in ("telegram_api_url", "max_api_url"):
        parts = urlsplit(getattr(settings, name))
        if parts.scheme == "http" and not is_loopback(parts.hostname) and not settings.allow_insecure_api_url:
            yield f"{name.upper()}: must be https:// (or set ALLOW_INSECURE_API_URL=true): the bot's token goes over it"
    if settings.public_url is None:
        return
    port = urlsplit(settings.public_url).port or HTTPS_PORT
    if settings.max_bot_token is not None and port != HTTPS_PORT:
        yield "PUBLIC_URL: MAX delivers to port 443 only"
    if settings.telegram_bot_token is not None and port not in TELEGRAM_PORTS:
        yield "PUBLIC_URL: Telegram delivers to the ports 443, 80, 88 and 8443 only"
