"""What the Dockerfile makes, carried out in a folder: it serves as nobody in particular, on a root that is read-only."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from config import VERSION
from tests.deploying import ROOT, text
from tests.imaging import Stage, build, missing
from tests.process import API_KEY, free_port, until_serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=f"NO {missing()} (Debian: apt-get install debootstrap)"),
]

SETTINGS = {
    "SECRET_KEYS": "k" * 40,
    "MAX_BOT_TOKEN": "a-token-of-the-tests",
    "MAX_API_URL": "http://127.0.0.1:9",
    "MAX_BOT_USERNAME": "id1_bot",
    "PROJECT_NAME": "Shop",
    "PROJECT_API_KEY": API_KEY,
}


def test_the_image_in_a_folder(tmp_path: Path) -> None:
    """One test, as the folder is built once: a gigabyte, and minutes."""
    image = build(tmp_path)
    for number, holds in enumerate(
        (
            holds_neither_tools_nor_settings,
            takes_commands_after_the_name_of_the_image,
            is_restored_as_the_document_says,
            lets_nobody_write_its_root,
            serves_on_a_read_only_root_until_it_is_told_to_end,
        )
    ):
        volume = tmp_path / f"volume-{number}"  # as an engine makes it: like the folder in the image
        subprocess.run(["cp", "-aT", f"{image.root}{image.volume}", str(volume)], check=True)
        holds(image, volume)
    subprocess.run(["rm", "-rf", "--one-file-system", *map(str, tmp_path.glob("stage-*"))], check=True)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """In a container of its own."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def serves_on_a_read_only_root_until_it_is_told_to_end(image: Stage, data: Path) -> None:
    """Healthy by its own check, once it answers and not before; commands reach it; SIGTERM ends it in order."""
    settings = {**SETTINGS, "PORT": str(free_port())}
    check = image.contained(image.health, data, **settings)
    assert run(check).returncode == 1
    process = subprocess.Popen(
        image.contained([*image.entrypoint, *image.words], data, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until_serving(process)
        checked = run(check)
        assert checked.returncode == 0, checked.stderr
        # As .env.example has the database's address: relative, and yet in the volume.
        settings["DATABASE_URL"] = "sqlite:///data/tapcode.db"
        listed = run(image.contained([*image.entrypoint, "project", "list", "--json"], data, **settings))
        assert [one["name"] for one in json.loads(listed.stdout)] == ["Shop"], listed.stderr
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (first,) = map(int, children)
        assert (
            Path(f"/proc/{first}/status").read_text().split("Uid:")[1].split()[0] == image.user.split(":")[0]
        )
        subprocess.run(["kill", f"-{signal.SIGTERM:d}", str(first)], check=True)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert '"event":"stopped"' in said
    finally:
        process.kill()
        process.wait()
    assert {path.stat().st_uid for path in data.iterdir()} == {int(image.user.split(":")[0])}


def takes_commands_after_the_name_of_the_image(image: Stage, data: Path) -> None:
    """Without a service that runs, too."""
    said = run(image.contained([*image.entrypoint, "--version"], data))
    assert said.stdout == f"tapcode {VERSION}\n", said.stderr
    create = [*image.entrypoint, "project", "create", "--name", "Daisy", "--json"]
    made = run(image.contained(create, data))
    assert json.loads(made.stdout)["api_key"].startswith("tc_live_"), made.stderr
    assert run(image.contained([*image.entrypoint, "serve"], data)).returncode == 78


def is_restored_as_the_document_says(image: Stage, data: Path) -> None:
    """A backup is made in the volume; its bytes come back through the container's own shell, owned by its user."""
    command = [*image.entrypoint, "project", "create", "--name", "Daisy", "--json"]
    assert run(image.contained(command, data)).returncode == 0
    done = run(image.contained([*image.entrypoint, "backup", "/data/tonight.db"], data))
    assert done.returncode == 0, done.stderr
    copy = (data / "tonight.db").read_bytes()
    (data / "tapcode.db").write_bytes(b"broken")
    document = text(ROOT / "docs" / "operations.md")
    found = re.search(r"--entrypoint sh tapcode -c \\\n +'(.*)' < ", document)
    assert found is not None
    restored = subprocess.run(
        image.contained(["sh", "-c", found[1]], data), input=copy, timeout=60, check=False
    )
    assert restored.returncode == 0
    listed = run(image.contained([*image.entrypoint, "project", "list", "--json"], data))
    assert [one["name"] for one in json.loads(listed.stdout)] == ["Daisy"], listed.stderr
    assert (data / "tapcode.db").stat().st_mode & 0o777 == 0o600


def lets_nobody_write_its_root(image: Stage, data: Path) -> None:
    """By the image's user neither, were it not read-only; and all that it imports is compiled."""
    said = run(image.contained(["touch", "/app/main.py", "/opt/venv/x", "/etc/x"], data))
    assert said.returncode == 1
    assert run(image.inside(["touch", "/app/x"])).returncode == 1
    assert run(image.inside(["find", "/app", "/opt/venv", "-writable", "-not", "-type", "l"])).stdout == ""
    for folder in ("opt/venv", "app"):
        sources = [path for path in (image.root / folder).rglob("*.py") if path.parent.name != "__pycache__"]
        assert len(sources) > 50
        assert all(list((one.parent / "__pycache__").glob(f"{one.stem}.*.pyc")) for one in sources)


def holds_neither_tools_nor_settings(image: Stage, _data: Path) -> None:
    """Nothing that installs, no tests, no data."""
    there = {path.name for path in (image.root / "app").iterdir()}
    assert there.isdisjoint({"tests", ".env", ".git", "docs", "deploy", "requirements.in"})
    assert there >= {"main.py", "otp", "requirements"}
    assert not list((image.root / "opt/venv").glob("lib/python*/site-packages/pip*"))
    assert (image.root / "app/data").readlink() == Path("/data")
    assert list((image.root / "data").iterdir()) == []
