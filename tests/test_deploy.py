"""The files that people deploy with, held against the program: its settings, routes, ports, exit codes and times."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from api.status import LONGEST_WAIT
from bot.webhooks import LARGEST_UPDATE
from config import VERSION
from config.connections import KEEP_ALIVE_SECONDS, MOST_CONNECTIONS
from config.process import EXIT_BUSY, EXIT_CONFIG, EXIT_PORT, EXIT_STORE
from config.settings import Settings, defaults_but
from otp.model import Mode
from storage import open_store
from tests.deploying import (
    CADDY,
    DOCKERFILE,
    FILES,
    KUBERNETES,
    NGINX,
    ROOT,
    UNIT,
    compose,
    image_environment,
    in_build,
    is_passed,
    kubernetes,
    last,
    passed,
    steps,
    text,
    unit,
)
from tests.fakes import FakeClock, SeededRandomness
from wiring.app import build_app
from wiring.service import DRAIN_SECONDS

PORT = Settings.model_fields["port"].default
SETTINGS = {name.upper() for name in Settings.model_fields}
SECRETS = {
    name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
}
OTHERS = {
    *("PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_INPUT", "PIP_ROOT_USER_ACTION"),  # pip's
    *("POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS", "COMPOSE_PROFILES"),
    "NET_BIND_SERVICE",  # a capability
    *("AF_INET", "AF_INET6", "AF_UNIX"),
    "SUDO_USER",  # as sudo sets it
}
"""Names of others that have an underscore too."""
INSIDE = {"/healthz", "/readyz"}
"""What is for the operator alone."""
LONGEST_STOP = 4 * DRAIN_SECONDS + 2
"""Bodies on their way, calls, messages, events: one after the other, if each took all of its time; and replies."""


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_setting_that_is_named_exists(path: Path) -> None:
    """A name that is written wrong would be ignored without a word."""
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text(path)))
    assert named - SETTINGS <= OTHERS


def test_what_is_put_into_the_environment_exists() -> None:
    """Names without an underscore are settings too."""
    image = image_environment()
    assert {name for name in image if not name.startswith("PYTHON")} - {"PATH"} <= SETTINGS
    assert set(compose()["services"]["tapcode"]["environment"]) <= SETTINGS
    assert set(kubernetes()["ConfigMap"]["data"]) <= SETTINGS
    assert {one["name"] for one in container()["env"]} <= SETTINGS


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_no_file_holds_a_secret(path: Path) -> None:
    """Secrets come from a file or an object that is not among these."""
    assert isinstance(Settings.model_fields["database_url"].default, SecretStr)
    assert {"SECRET_KEYS", "DATABASE_URL", "TELEGRAM_BOT_TOKEN", "PROJECT_API_KEY"} <= SECRETS
    for name in SECRETS | {"POSTGRES_PASSWORD"}:
        for value in re.findall(rf"\b{name}[=:] *(\S*)", text(path)):
            assert re.fullmatch(r"\.\.\.|'?postgresql://tapcode:(PASSWORD|\.\.\.)@\S+|\$\{\w+:-\}", value)


# ------------------------------------------------------------------ the image


def test_the_image_holds_the_program_and_nothing_else() -> None:
    """Every package, and none of what lies beside: no settings, data, tests or documents."""
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    packages = project["tool"]["importlinter"]["root_packages"]
    own = ("main.py", "LICENSE", "requirements/run.txt", "requirements/reference.txt")
    for top in sorted(set(ROOT.iterdir()) - {ROOT / ".venv", ROOT / ".git"}):
        for path in [top, *top.glob("*"), *top.glob("*/*")]:
            name = path.relative_to(ROOT).as_posix()
            if path.is_file():
                program = name.split("/")[0] in packages and "__pycache__" not in name
                assert in_build(name) == (program or name in own), name
    for name in (".env", ".env.production", "data/tapcode.db", ".git/config", "deploy/tapcode.service"):
        assert not in_build(name)


def test_the_base_of_the_image_is_pinned_to_a_release_of_python() -> None:
    """One that the program can run on, in both stages."""
    base = next(step.rest for step in steps() if step.name == "ARG")
    found = re.fullmatch(r"BASE=python:3\.(\d+)-slim-[a-z]+", base)
    assert found is not None
    assert int(found[1]) >= 11
    assert [step.rest.split()[0] for step in steps() if step.name == "FROM"] == ["${BASE}"] * 2


def test_the_image_is_of_this_release() -> None:
    """Its label, and the tag in Kubernetes."""
    assert f'org.opencontainers.image.version="{VERSION}"' in last("LABEL")
    assert container()["image"].endswith(f":{VERSION}")


def test_only_wheels_with_known_hashes_are_installed() -> None:
    """As `make` does."""
    calls = re.findall(r"pip [^&]*install [^&]*", text(DOCKERFILE).replace("\\\n", ""))
    assert [re.findall(r"-r (\S+)", call)[0] for call in calls] == [
        "requirements/run.txt",
        "requirements/reference.txt",
    ]
    assert all("--require-hashes --only-binary :all:" in call for call in calls)
    assert "--no-deps" in calls[1]
    assert "--no-deps" not in calls[0]


def test_nobody_is_root() -> None:
    """Everywhere the same number, and the volume is its own."""
    user = last("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    uid, gid = user.split(":")
    makes = next(step.rest for step in steps() if step.name == "RUN" and "useradd" in step.rest)
    assert f"useradd --uid {uid} --gid {gid} " in makes
    assert f"install -d -o {uid} -g {gid} -m 0700 {last('VOLUME')} " in makes
    pod = kubernetes()["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert [str(pod["runAsUser"]), str(pod["runAsGroup"])] == [uid, gid]
    assert unit()["User"] == ["tapcode"]


# ------------------------------------------------------------------ ports and times


def test_all_say_the_same_port() -> None:
    """That of the default, from the listener to the proxies."""
    assert image_environment()["PORT"] == last("EXPOSE") == str(PORT)
    assert f"os.environ.get('PORT') or {PORT})" in last("HEALTHCHECK")
    services = compose()["services"]
    assert services["tapcode"]["environment"]["PORT"] == str(PORT)
    assert services["caddy"]["environment"]["TAPCODE"] == f"tapcode:{PORT}"
    assert f"{{$TAPCODE:127.0.0.1:{PORT}}}" in text(CADDY)
    assert f"server 127.0.0.1:{PORT};" in text(NGINX)
    assert container()["ports"] == [{"name": "http", "containerPort": PORT}]
    assert {"name": "PORT", "value": str(PORT)} in container()["env"]
    assert kubernetes()["Service"]["spec"]["ports"][0]["targetPort"] == "http"


def test_who_stops_the_service_waits_until_calls_under_way_have_ended() -> None:
    """Everywhere longer than the longest end that there can be."""
    assert seconds(compose()["services"]["tapcode"]["stop_grace_period"]) > LONGEST_STOP
    assert int(unit()["TimeoutStopSec"][0]) > LONGEST_STOP
    pod = kubernetes()["Deployment"]["spec"]["template"]["spec"]
    said = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] - said > LONGEST_STOP
    told = re.search(r"wait for (\d+) seconds \(docker stop --time (\d+)\)", text(DOCKERFILE))
    assert told is not None
    assert int(told[1]) == int(told[2]) > LONGEST_STOP
    assert last("STOPSIGNAL") == "SIGTERM"


def test_systemd_starts_again_where_that_can_help() -> None:
    """Not with wrong settings or a wrong command line; but a database or a port may come back."""
    never = {int(code) for code in unit()["RestartPreventExitStatus"][0].split()}
    assert never == {EXIT_CONFIG, 2}
    assert not never & {EXIT_BUSY, EXIT_PORT, EXIT_STORE}
    assert unit()["Restart"] == ["on-failure"]


def test_there_are_files_for_all_connections() -> None:
    """For as many as the service ever takes, and its own."""
    most = MOST_CONNECTIONS + 512
    assert int(unit()["LimitNOFILE"][0]) >= most
    assert compose()["services"]["tapcode"]["ulimits"]["nofile"] >= most


# ------------------------------------------------------------------ the proxies


async def test_the_proxies_pass_every_route_but_those_that_are_the_operators(clock: FakeClock) -> None:
    """A route that is new must be given its place in all three; what is no route of ours is not passed."""
    store = await open_store("sqlite:///:memory:", clock)
    settings = defaults_but({"secret_keys": "k" * 40})
    service = build_app(
        settings, store=store, clock=clock, randomness=SeededRandomness(), mode=Mode.LIVE, skins={}
    )
    routes = {resource.canonical for resource in service.app.router.resources()}
    await service.end()
    assert routes >= INSIDE
    routes |= {"/webhooks/telegram", "/webhooks/max"}  # there is one for each messenger that is on
    for name, patterns in passed().items():
        assert {route for route in routes if not is_passed(route, patterns)} == INSIDE, name
        for path in ("/", "/metrics", "/metrics/", "/healthz/x", "/webhooks/other", "/v2/x", "/admin"):
            assert not is_passed(path, patterns), (name, path)


def test_the_proxies_take_what_a_messenger_may_send_and_no_more() -> None:
    """Sites may send less, which the service itself says with a problem that can be read."""
    assert LARGEST_UPDATE == 1024 * 1024
    assert "client_max_body_size 1m;" in text(NGINX)
    assert "max_size 1MiB" in text(CADDY)


def test_the_proxies_wait_longer_than_the_longest_poll() -> None:
    """And let go of idle connections before the service closes them."""
    nginx, caddy = text(NGINX), text(CADDY)
    for pattern, said in ((r"proxy_read_timeout (\d+)s", nginx), (r"response_header_timeout (\d+)s", caddy)):
        found = re.search(pattern, said)
        assert found is not None
        assert int(found[1]) > LONGEST_WAIT
    for pattern, said in ((r"keepalive_timeout (\d+)s", nginx), (r"keepalive (\d+)s", caddy)):
        found = re.search(pattern, said)
        assert found is not None
        assert int(found[1]) < KEEP_ALIVE_SECONDS


def test_the_word_of_caddy_alone_is_trusted_in_compose() -> None:
    """Its address is fixed, and in the range of the network."""
    made = compose()
    trusted = made["services"]["tapcode"]["environment"]["TRUSTED_PROXIES"]
    assert trusted == made["services"]["caddy"]["networks"]["front"]["ipv4_address"]
    assert ip_address(trusted) in ip_network(made["networks"]["front"]["ipam"]["config"][0]["subnet"])


# ------------------------------------------------------------------ walls


def test_no_container_can_do_more_than_it_must() -> None:
    """A read-only root, no capabilities but one that Caddy needs, logs that end, and nothing published but Caddy."""
    services = compose()["services"]
    for name, one in services.items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert {"max-size", "max-file"} <= set(one["logging"]["options"]), name
        assert one.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else []), name
        assert ("ports" in one) == (name == "caddy"), name
        assert not one["image"].endswith(":latest"), name
    assert services["postgres"]["profiles"] == ["postgres"]
    assert set(services["postgres"]["networks"]) == {"back"}
    assert compose()["networks"]["back"]["internal"] is True
    assert "./" not in "".join(services["tapcode"]["volumes"])


def test_a_pod_can_do_no_more_than_it_must() -> None:
    """What the restricted standard of Kubernetes asks, and a root that is read-only."""
    pod = kubernetes()["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {name: container()[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")} == {
        "liveness": "/healthz",
        "readiness": "/readyz",
    }


def test_the_objects_of_kubernetes_mean_each_other() -> None:
    """Labels, names and the port."""
    made = kubernetes()
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert made["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert made["Service"]["spec"]["selector"] == labels
    assert made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    sources = container()["envFrom"]
    assert sources[0]["configMapRef"]["name"] == made["ConfigMap"]["metadata"]["name"]
    assert sources[1]["secretRef"]["name"] in text(KUBERNETES)
    for path in made["Ingress"]["spec"]["rules"][0]["http"]["paths"]:
        assert path["backend"] == {"service": {"name": "tapcode", "port": {"name": "http"}}}


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="NO SYSTEMD-ANALYZE HERE: install systemd"
)
def test_systemd_calls_the_unit_safe() -> None:
    """Its own measure, from 0 to 10: below 1.5."""
    got = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert got.returncode == 0, got.stdout[-300:] + got.stderr
    assert "Overall exposure level for tapcode.service" in got.stdout


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="NO SYSTEMD-ANALYZE HERE: install systemd"
)
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Every word and value, with a program in place of what is not installed here."""
    copy = tmp_path / UNIT.name
    copy.write_text(text(UNIT).replace(unit()["ExecStart"][0].split()[0], "/bin/true"), encoding="utf-8")
    got = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (got.returncode, got.stderr) == (0, "")


def test_the_unit_and_its_command_line_mean_the_same_place() -> None:
    """User, folder, program."""
    said = text(ROOT / "deploy" / "tapcode")
    start = unit()["ExecStart"][0].removesuffix(" serve")
    assert f"runuser -u {unit()['User'][0]} -- {start} " in said
    assert f"cd {unit()['WorkingDirectory'][0]} " in said


def test_the_operator_is_told_of_every_file() -> None:
    """By a link, in the walk."""
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        assert name in text(ROOT / "docs" / "operations.md") or name in ("Dockerfile", ".dockerignore"), name


def test_the_operator_is_told_how_to_rotate_every_secret() -> None:
    """One that is new must be given its row."""
    table = text(ROOT / "docs" / "operations.md").partition("## Rotate a secret")[2].partition("\n## ")[0]
    assert {name for name in SECRETS if f"`{name}`" not in table} == set()


def container() -> Any:
    """The one container of the pod."""
    (one,) = kubernetes()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return one


def seconds(said: str) -> int:
    """A time such as 90s."""
    found = re.fullmatch(r"(\d+)s", said)
    assert found is not None
    return int(found[1])
