"""Settings: what is refused, in which words, and that no value is ever shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

import main
from config.settings import Settings, SettingsError, judged, load, mistyped, remarked

ROOT = Path(__file__).resolve().parent.parent
KEY = "key-" + "k" * 32
TELEGRAM_TOKEN = "123456789:AAbbCCddEEffGGhhIIjj"
MAX_TOKEN = "max-token-f00dfeed"
API_KEY = "tc_live_" + "a" * 32
GOOD = {"SECRET_KEYS": KEY, "TELEGRAM_BOT_TOKEN": TELEGRAM_TOKEN, "MAX_BOT_TOKEN": MAX_TOKEN}

DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 8080,
    "database_url": "sqlite:///data/tapcode.db",
    "database_pool_size": 10,
    "database_statement_cache": 100,
    "database_direct_url": None,
    "secret_keys": None,
    "public_url": None,
    "telegram_bot_token": None,
    "max_bot_token": None,
    "telegram_api_url": "https://api.telegram.org",
    "max_api_url": "https://platform-api2.max.ru",
    "allow_insecure_api_url": False,
    "telegram_proxy_url": None,
    "max_proxy_url": None,
    "telegram_webhook_secret": None,
    "max_webhook_secret": None,
    "telegram_bot_username": None,
    "max_bot_username": None,
    "webhooks_register_on_start": None,
    "project_name": None,
    "project_description": "",
    "project_api_key": None,
    "profile": "standard",
    "max_ttl_minutes": 30,
    "send_limit": 5,
    "send_window_seconds": 600,
    "guess_budget": 50,
    "requests_per_minute": 3000,
    "status_reads_per_minute": 120,
    "waiters_per_key": 10_000,
    "replies_per_minute": 20,
    "events_allow_private": False,
    "retention_days": None,
    "docs": True,
    "trusted_proxies": None,
    "metrics_host": "127.0.0.1",
    "metrics_port": None,
    "metrics_token": None,
    "log_level": "info",
    "log_format": None,
}
"""The contract's table."""

ILL = [
    ("PROFILE", "lax"),
    ("TRUSTED_PROXIES", "10.0.0.0/8, proxy.internal"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("PORT", "forty-two"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "80.5"),
    ("METRICS_PORT", "0"),
    ("METRICS_PORT", "8080"),
    ("METRICS_PORT", "ninety"),
    ("METRICS_TOKEN", "hunter2"),
    ("METRICS_TOKEN", "hunter2 hunter2 hunter2"),
    ("DATABASE_URL", "mysql://root:hunter2@db/x"),
    ("DATABASE_URL", "sqlite:///"),
    ("DATABASE_URL", "/var/lib/hunter2.db"),
    ("SECRET_KEYS", "too-short-hunter2"),
    ("SECRET_KEYS", KEY + ",hunter2"),
    ("PUBLIC_URL", "http://hunter2.example"),
    ("PUBLIC_URL", "hunter2.example"),
    ("PUBLIC_URL", "https://"),
    ("PUBLIC_URL", "https://user:hunter2@example.org"),
    ("PUBLIC_URL", "https://:hunter2@example.org"),
    ("PUBLIC_URL", "https://example.org/?hunter2"),
    ("PUBLIC_URL", "https://example.org/#hunter2"),
    ("PUBLIC_URL", "https://hunter2.example:99999"),
    ("PUBLIC_URL", "https://hunter2.example:port"),
    ("PUBLIC_URL", "https://[hunter2"),
    ("TELEGRAM_BOT_TOKEN", "hunter2"),
    ("TELEGRAM_BOT_TOKEN", "bot123456789:AAbbCChunter2"),
    ("TELEGRAM_BOT_TOKEN", "１２３４５６:AAbbCChunter2"),
    ("MAX_BOT_TOKEN", "hunter2 with spaces"),
    ("MAX_BOT_TOKEN", "hunter2"),
    ("TELEGRAM_API_URL", "ftp://hunter2.example"),
    ("TELEGRAM_API_URL", "http://hunter2.example"),
    ("TELEGRAM_API_URL", "https://a:hunter2@example.org"),
    ("MAX_API_URL", "hunter2"),
    ("MAX_API_URL", "http://10.0.0.7:8081/hunter2"),
    ("ALLOW_INSECURE_API_URL", "hunter2"),
    ("TELEGRAM_PROXY_URL", "hunter2:3128"),
    ("MAX_PROXY_URL", "socks5://user:hunter2@proxy"),
    ("TELEGRAM_WEBHOOK_SECRET", "hunter2"),
    ("TELEGRAM_WEBHOOK_SECRET", "hunter2 hunter2 hunter2"),
    ("MAX_WEBHOOK_SECRET", "hunter2-" * 40),
    ("MAX_WEBHOOK_SECRET", "пароль-hunter2-пароль"),
    ("TELEGRAM_BOT_USERNAME", "@hunter2"),
    ("MAX_BOT_USERNAME", "https://max.ru/hunter2"),
    ("WEBHOOKS_REGISTER_ON_START", "hunter2"),
    ("PROJECT_API_KEY", "hunter2"),
    ("PROJECT_API_KEY", "tc_live_hunter2"),
    ("MAX_TTL_MINUTES", "0"),
    ("MAX_TTL_MINUTES", "31"),
    ("SEND_LIMIT", "0"),
    ("SEND_WINDOW_SECONDS", "-77"),
    ("GUESS_BUDGET", "101"),
    ("GUESS_BUDGET", "0"),
    ("RETENTION_DAYS", "0"),
    ("RETENTION_DAYS", "3651"),
    ("RETENTION_DAYS", "1.5"),
    ("REQUESTS_PER_MINUTE", "hunter2"),
    ("STATUS_READS_PER_MINUTE", "0"),
    ("REPLIES_PER_MINUTE", "0"),
    ("LOG_LEVEL", "hunter2"),
    ("LOG_FORMAT", "hunter2"),
]

QUOTED_BY_THE_PARSER = [
    ("TELEGRAM_PROXY_URL", "http://user:hunter2\u2100@proxy:3128"),
    ("MAX_PROXY_URL", "http://user:[hunter2]@proxy:3128"),
    ("PUBLIC_URL", "https://[hunter2]/"),
    ("TELEGRAM_API_URL", "https://[hunter2]"),
]

Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    """An empty folder without `.env`, and an environment that holds just what a test says."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def given(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return given


def problems(command: str = "serve") -> list[str]:
    """The lines that a command refuses to start with."""
    with pytest.raises(SettingsError) as caught:
        load(command)  # type: ignore[arg-type]
    return caught.value.problems


def plain(settings: Settings) -> dict[str, Any]:
    """The values, secrets revealed."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.model_dump().items()
    }


# ------------------------------------------------------------------ defaults


def test_the_defaults_are_the_contracts(environment: Environment):
    """Every setting of the table, with its default, and no other one."""
    assert plain(load("cli")) == DEFAULTS


def test_an_empty_value_is_not_set(environment: Environment):
    """`NAME=` in a compose file is the same as no line."""
    environment(**{name.upper(): "" for name in DEFAULTS})
    assert plain(load("cli")) == DEFAULTS


def test_the_environment_wins_over_the_file(environment: Environment):
    """`.env` is read where the service starts, and the environment overrides it."""
    Path(".env").write_text("PORT=1111\nSEND_LIMIT=7\nPROJECT_NAME=Ромашка\n", encoding="utf-8")
    environment(PORT="2222")
    settings = load("cli")
    assert (settings.port, settings.send_limit, settings.project_name) == (2222, 7, "Ромашка")


def test_a_foreign_line_in_the_file_does_no_harm(environment: Environment):
    """A `.env` shared with other programs is fine."""
    Path(".env").write_text("COMPOSE_PROJECT_NAME=x\nPORT=1111\n", encoding="utf-8")
    assert load("cli").port == 1111


def test_settings_are_frozen(environment: Environment):
    """Nothing changes them while the service runs."""
    with pytest.raises(ValidationError):
        load("cli").port = 1  # type: ignore[misc]


def test_serve_starts_with_a_key_and_one_token(environment: Environment):
    """Either messenger alone is enough."""
    environment(SECRET_KEYS=KEY, TELEGRAM_BOT_TOKEN=TELEGRAM_TOKEN)
    assert load("serve").max_bot_token is None
    environment(TELEGRAM_BOT_TOKEN="", MAX_BOT_TOKEN=MAX_TOKEN)
    assert load("serve").telegram_bot_token is None


# ------------------------------------------------------------------ problems


@pytest.mark.parametrize("name, value", ILL)
def test_a_problem_names_its_setting_and_not_its_value(environment: Environment, name: str, value: str):
    """One line, that begins with the setting's name and says what it should be."""
    environment(**{**GOOD, name: value})
    lines = problems()
    assert [line.split(":")[0] for line in lines] == [name]
    assert re.fullmatch(r"[A-Z_]+: [^\n]{10,300}", lines[0])
    assert "hunter2" not in lines[0]


@pytest.mark.parametrize("name, value", QUOTED_BY_THE_PARSER)
def test_a_url_that_the_parser_refuses_is_not_quoted(environment: Environment, name: str, value: str):
    """The standard library's texts hold what they were given; ours never do."""
    environment(**{**GOOD, name: value})
    assert "hunter2" not in problems()[0]


def test_a_bad_key_is_named_by_its_number(environment: Environment):
    """In a list of keys an operator must know which one is meant."""
    environment(**{**GOOD, "SECRET_KEYS": f"{KEY}, short ,{KEY}"})
    assert "key 2" in problems()[0]


def test_serve_says_everything_that_is_missing(environment: Environment):
    """An empty environment gives one line for the keys and one for the tokens."""
    assert [line.partition(":")[0] for line in problems()] == [
        "SECRET_KEYS",
        "TELEGRAM_BOT_TOKEN or MAX_BOT_TOKEN",
    ]


def test_all_problems_come_at_once(environment: Environment):
    """Values that are ill and values that are missing, each with a line of its own and none twice."""
    environment(
        PORT="x", SECRET_KEYS="short", TELEGRAM_BOT_TOKEN="x", GUESS_BUDGET="1000", PROJECT_NAME="Shop",
        MAX_API_URL="http://example.org", PUBLIC_URL="http://example.org", LOG_LEVEL="loud",
    )  # fmt: skip
    lines = problems()
    names = sorted(line.partition(":")[0] for line in lines)
    assert names == sorted(
        ["PORT", "SECRET_KEYS", "TELEGRAM_BOT_TOKEN", "GUESS_BUDGET", "PROJECT_NAME and PROJECT_API_KEY",
         "MAX_API_URL", "PUBLIC_URL", "LOG_LEVEL"]
    )  # fmt: skip


@pytest.mark.parametrize("separators", [",", " , ", ",,"])
def test_an_empty_list_of_keys_is_none(environment: Environment, separators: str):
    """Commas alone are no key."""
    environment(SECRET_KEYS=separators, MAX_BOT_TOKEN=MAX_TOKEN)
    assert [line.partition(":")[0] for line in problems()] == ["SECRET_KEYS"]


def test_keys_keep_their_order(environment: Environment):
    """The first one makes new codes; spaces around them are no part of a key."""
    environment(SECRET_KEYS=f" {KEY}2 ,{KEY}1,", MAX_BOT_TOKEN=MAX_TOKEN)
    assert load("serve").keys == [KEY + "2", KEY + "1"]


def test_a_project_needs_name_and_key(environment: Environment):
    """Either both or neither."""
    environment(**GOOD, PROJECT_API_KEY=API_KEY)
    assert [line.partition(":")[0] for line in problems()] == ["PROJECT_NAME and PROJECT_API_KEY"]
    environment(PROJECT_NAME="Shop")
    assert load("serve").project_name == "Shop"


def test_serve_takes_only_live_keys(environment: Environment):
    """A test key acts in the sandbox only."""
    environment(**GOOD, PROJECT_NAME="Shop", PROJECT_API_KEY="tc_test_" + "a" * 32)
    assert [line.partition(":")[0] for line in problems()] == ["PROJECT_API_KEY"]


def test_the_command_line_needs_no_keys(environment: Environment):
    """`project create` works before anything else is set."""
    assert load("cli").keys == []


def test_a_file_that_is_not_utf_8_is_a_problem_too(environment: Environment):
    """One line and exit code 78, as for every other problem."""
    Path(".env").write_bytes(b"PROJECT_NAME=\xd0\xff\n")
    environment(**GOOD)
    assert problems()


@pytest.mark.parametrize("name", ["SECRET_KEYS", "HOST", "PROJECT_NAME"])
def test_bytes_that_are_no_text_are_refused(environment: Environment, name: str):
    """What the environment holds must be UTF-8: nothing else could be used later."""
    environment(**GOOD, PROJECT_API_KEY=API_KEY, PROJECT_NAME="Shop")
    environment(**{name: "x" * 40 + "\udcff"})
    assert [line.split(":")[0] for line in problems()] == [name]


# ------------------------------------------------------------------ where the bots' tokens and updates go


@pytest.mark.parametrize("name", ["TELEGRAM_API_URL", "MAX_API_URL"])
@pytest.mark.parametrize(
    "url, allowed",
    [
        ("https://egress.example.org", True),
        ("https://egress.example.org:8443/telegram/", True),
        ("http://127.0.0.1:8081", True),
        ("http://127.1.2.3", True),
        ("http://localhost:8081", True),
        ("http://LocalHost:8081", True),
        ("http://[::1]:8081", True),
        ("http://egress.example.org", False),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1.example.org", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://[::]:8081", False),
        ("http://[fe80::1]", False),
    ],
)
def test_a_token_goes_only_over_https_or_loopback(
    environment: Environment, name: str, url: str, allowed: bool
):
    """Plain HTTP reaches this machine only, unless the operator says otherwise."""
    environment(**{**GOOD, name: url})
    if allowed:
        assert getattr(load("serve"), name.lower()) == url.rstrip("/")
    else:
        assert [line.split(":")[0] for line in problems()] == [name]
    environment(ALLOW_INSECURE_API_URL="true")
    assert getattr(load("serve"), name.lower()) == url.rstrip("/")


@pytest.mark.parametrize(
    "url, telegram, max_",
    [
        ("https://otp.example.org", True, True),
        ("https://otp.example.org:443/", True, True),
        ("https://otp.example.org:8443", True, False),
        ("https://otp.example.org:88", True, False),
        ("https://otp.example.org:8080", False, False),
    ],
)
def test_updates_come_to_the_ports_that_messengers_know(
    environment: Environment, url: str, telegram: bool, max_: bool
):
    """Telegram delivers to four ports, MAX to one; a channel that is off does not care."""
    for name, token, good in (("TELEGRAM", TELEGRAM_TOKEN, telegram), ("MAX", MAX_TOKEN, max_)):
        environment(SECRET_KEYS=KEY, PUBLIC_URL=url, TELEGRAM_BOT_TOKEN="", MAX_BOT_TOKEN="")
        environment(**{f"{name}_BOT_TOKEN": token})
        if good:
            assert load("serve").public_url == url.rstrip("/")
        else:
            assert [line.split(":")[0] for line in problems()] == ["PUBLIC_URL"]


@pytest.mark.parametrize(
    "url, wanted, registers",
    [
        ("", "", False),
        ("", "true", False),
        ("https://otp.example.org", "", True),
        ("https://otp.example.org", "true", True),
        ("https://otp.example.org", "false", False),
    ],
)
def test_webhooks_are_registered_when_there_is_a_url(
    environment: Environment, url: str, wanted: str, registers: bool
):
    """By default yes, and never without `PUBLIC_URL`."""
    environment(**GOOD, PUBLIC_URL=url, WEBHOOKS_REGISTER_ON_START=wanted)
    assert load("serve").registers_webhooks is registers


# ------------------------------------------------------------------ the sandbox


@pytest.mark.parametrize(
    "name, value",
    [
        ("TELEGRAM_BOT_TOKEN", TELEGRAM_TOKEN),
        ("MAX_BOT_TOKEN", MAX_TOKEN),
        ("PUBLIC_URL", "https://otp.example.org"),
        ("HOST", "0.0.0.0"),  # noqa: S104
        ("HOST", "192.168.1.5"),
        ("HOST", "::"),
        ("HOST", "example.org"),
    ],
)
def test_the_sandbox_refuses_to_run_beside_anything_real(environment: Environment, name: str, value: str):
    """No bot token, no public URL, no other interface than loopback."""
    environment(**{name: value})
    lines = problems("sandbox")
    assert [line.split(":")[0] for line in lines] == [name]
    assert value not in lines[0].partition(" (")[0]


def test_the_sandbox_says_all_its_problems(environment: Environment):
    """Four refusals at once."""
    environment(**GOOD, PUBLIC_URL="https://otp.example.org", HOST="::")
    assert len(problems("sandbox")) == 4


@pytest.mark.parametrize("host", ["", "127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_the_sandbox_needs_no_settings(environment: Environment, host: str):
    """On loopback it just starts."""
    environment(HOST=host)
    assert load("sandbox").keys == []


# ------------------------------------------------------------------ secrets


@pytest.fixture
def secretive(environment: Environment) -> Settings:
    """Settings with a secret wherever there can be one."""
    environment(
        **GOOD, DATABASE_URL="sqlite:///data/hunter2.db", TELEGRAM_PROXY_URL="http://u:hunter2@proxy:1",
        MAX_PROXY_URL="http://u:hunter2@proxy:2", TELEGRAM_WEBHOOK_SECRET="hunter2-telegram-secret",
        MAX_WEBHOOK_SECRET="hunter2-max-secret-here", PROJECT_NAME="Shop", PROJECT_API_KEY=API_KEY,
    )  # fmt: skip
    return load("serve")


@pytest.mark.parametrize(
    "show",
    [repr, str, Settings.model_dump_json, lambda settings: repr(settings.model_dump())],
    ids=["repr", "str", "json", "dump"],
)
def test_showing_the_settings_shows_no_secret(secretive: Settings, show: Callable[[Settings], str]):
    """Settings in a log or a traceback give nothing away."""
    shown = show(secretive)
    assert "Shop" in shown
    assert not [secret for secret in ("hunter2", KEY, TELEGRAM_TOKEN, MAX_TOKEN, API_KEY) if secret in shown]


def test_the_log_is_told_every_secret(secretive: Settings):
    """Each key by itself, tokens, proxies, webhook secrets and the project's key."""
    assert {
        KEY, TELEGRAM_TOKEN, MAX_TOKEN, API_KEY, "http://u:hunter2@proxy:1", "http://u:hunter2@proxy:2",
        "hunter2-telegram-secret", "hunter2-max-secret-here",
    } <= set(secretive.secrets)  # fmt: skip


def test_every_key_of_the_list_is_a_secret(environment: Environment):
    """Not only the list as a whole."""
    environment(SECRET_KEYS=f"{KEY}1,{KEY}2", MAX_BOT_TOKEN=MAX_TOKEN)
    assert {KEY + "1", KEY + "2"} <= set(load("serve").secrets)


# ------------------------------------------------------------------ the command


@pytest.mark.parametrize("command", ["serve", "sandbox"])
def test_a_command_with_problems_exits_with_78(
    environment: Environment, capsys: pytest.CaptureFixture[str], command: str
):
    """One line per problem on standard error, nothing on standard output, no traceback, nothing created."""
    environment(PORT="hunter2", TELEGRAM_BOT_TOKEN="hunter2", GUESS_BUDGET="hunter2")
    assert main.main([command]) == 78
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert shown.out == ""
    assert len(lines) == (4 if command == "serve" else 3)
    assert all(re.match(r"tapcode: [A-Z_]+: ", line) for line in lines)
    assert "hunter2" not in shown.err
    assert list(Path.cwd().iterdir()) == []


def test_serve_alone_says_what_it_needs(environment: Environment, capsys: pytest.CaptureFixture[str]):
    """The first thing that somebody sees who just types `serve`."""
    assert main.main(["serve"]) == 78
    assert capsys.readouterr().err.count("tapcode: ") == 2


# ------------------------------------------------------------------ .env.example


def documented() -> Iterator[tuple[str, str, bool]]:
    """Name, value, and whether the line is commented out, of each setting in `.env.example`."""
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"(# ?)?([A-Z][A-Z0-9_]*)=(.*)", line):
            yield found[2], found[3].strip(), found[1] is not None


def test_the_example_lists_every_setting_once():
    """A setting that nobody can find does not exist."""
    assert sorted(name for name, _, _ in documented()) == sorted(name.upper() for name in DEFAULTS)


def test_the_example_shows_the_defaults(environment: Environment):
    """Copied as it is, it changes nothing, and so it does with every line switched on."""
    environment(**{name: value.strip("\"'") for name, value, _ in documented()})
    assert plain(load("cli")) == DEFAULTS


def test_a_setting_without_default_is_commented_out():
    """What has to be filled in is a commented line with nothing behind the sign."""
    for name, value, commented in documented():
        if DEFAULTS[name.lower()] is None:
            assert (value, commented) == ("", True), name


def test_the_databases_passwords_are_secrets(environment: Environment):
    """As they stand in the address, and as they are."""
    environment(
        **GOOD, DATABASE_URL="postgresql://ann:p%40ss-of-ann@db/otp",
        DATABASE_DIRECT_URL="postgresql://ann:pass-of-bob@db/otp",
    )  # fmt: skip
    assert {"p%40ss-of-ann", "p@ss-of-ann", "pass-of-bob"} <= set(load("serve").secrets)


def test_names_that_are_nearly_settings_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is another program's is not, nor a file that can't be read."""
    monkeypatch.chdir(tmp_path)
    assert mistyped() == {}
    (tmp_path / ".env").write_text("TELEGRAM_TOKEN=1:x\nPOSTGRES_PASSWORD=x\nPORT=80\nSECRET_KEY=x\n")
    assert mistyped() == {"TELEGRAM_TOKEN": "TELEGRAM_BOT_TOKEN", "SECRET_KEY": "SECRET_KEYS"}
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    assert mistyped() == {}
    assert judged("serve") == (None, [".env: is not UTF-8 text"])


@pytest.mark.parametrize(
    "line,found",
    [
        ("LOG_LEVEL=INFO # all", True),
        ("  export LOG_LEVEL = INFO\t# all", True),
        ("LOG_LEVEL= # all", True),
        ("LOG_LEVEL='INFO' # all", True),
        ('LOG_LEVEL="INFO" # all', True),
        ("LOG_LEVEL=INFO#all", False),
        ("LOG_LEVEL=#all", False),
        ("LOG_LEVEL='INFO # all'", False),
        ('LOG_LEVEL="INFO \\" # all"', False),
        ("LOG_LEVEL=\n# all", False),
        ("# LOG_LEVEL=INFO # all", False),
        ("POSTGRES_PASSWORD=x # all", False),
    ],
)
def test_remarks_behind_values_are_found(
    line: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's EnvironmentFile= knows remarks at the beginning of a line only."""
    monkeypatch.chdir(tmp_path)
    assert remarked() == []
    (tmp_path / ".env").write_text(f"HOST=::1\n{line}\nPORT=80\n")
    assert remarked() == (["LOG_LEVEL"] if found else [])


def test_settings_are_judged_without_an_end() -> None:
    """What is ill has its default, the rest is as it was given."""
    settings, problems = judged("cli", {"port": "0", "host": "::1"})
    assert settings is not None
    assert (settings.port, settings.host, len(problems)) == (8080, "::1", 1)
