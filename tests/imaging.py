"""The Dockerfile's steps, carried out one by one in folders, where there is no engine that makes images.

What stands for the base image is a folder that debootstrap fills from the same release of Debian, with the same release of
Python. A step runs in a mount and a process namespace of its own, its root changed to the folder. So nothing of this is an
image: layers, labels and what an engine itself does are not tried.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploying import ROOT, in_build, steps

NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
"""What a builder takes from the machine that it is on."""
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As the images of Python have it."""
NEEDED = ("debootstrap", "unshare", "setpriv", "apt-get")


def missing() -> str | None:
    """What is not there to do it with."""
    if os.getuid() != 0:
        return "ROOT'S RIGHTS"
    found = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return f"{', '.join(found).upper()} HERE" if found else None


@dataclass
class Stage:
    """A folder in which a container could begin, and how."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    folder: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volume: str | None = None

    def inside(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        mounts: Sequence[str] = (),
        as_user: bool = True,
    ) -> list[str]:
        """What runs a command in here as the first process; `mounts` are lines of a shell that knows `$root`."""
        user, group = (self.user if as_user else "0:0").split(":")
        rights = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        if user != "0":
            rights += ["--no-new-privs", "--bounding-set=-all"]
        given = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        program = ["env", "-i", "-C", self.folder, *given, *command]
        script = "\n".join(
            (
                "set -e",
                f"root={shlex.quote(str(self.root))}",
                'mount --bind "$root" "$root"',
                *mounts,
                'mount -t proc proc "$root/proc"',
                'mount --rbind /dev "$root/dev"',
                f'exec chroot "$root" setpriv {shlex.join(rights)} {shlex.join(program)}',
            )
        )
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]

    def contained(self, command: Sequence[str], data: Path, **environment: str) -> list[str]:
        """What runs a command as a hardened container does: its root is read-only, all but the volume and /tmp."""
        mounts = [
            'mount -o remount,bind,ro "$root"',
            f'mount --bind {shlex.quote(str(data))} "$root{self.volume}"',
            'mount -t tmpfs -o size=64m tmpfs "$root/tmp"',
        ]
        return self.inside(command, environment=environment, mounts=mounts)


def build(folder: Path) -> Stage:
    """Carry out the Dockerfile; the last stage. Needs minutes, a gigabyte and the network."""
    base = folder / "base"
    _make_base(base)
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    now, last_stage = Stage(base), steps()[-1].stage
    for step in steps():
        rest = step.rest
        if step.name == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif step.name == "FROM":
            root = folder / f"stage-{step.stage}"
            # The last one may have the folder itself.
            command = ["mv"] if step.stage == last_stage else ["cp", "-a"]
            subprocess.run([*command, str(base), str(root)], check=True)
            now = Stage(root)
            stages[rest.partition(" AS ")[2] or str(step.stage)] = now
        elif step.name == "RUN":
            _run(now, rest)
        elif step.name == "COPY":
            _copy(now, rest.split(), stages)
        else:
            _note(now, step.name, rest)
    return now


def _make_base(base: Path) -> None:
    """What stands for python:3.N-slim-RELEASE."""
    tag = next(step.rest for step in steps() if step.name == "ARG")
    found = re.fullmatch(r"BASE=python:(3\.\d+)-slim-([a-z]+)", tag)
    assert found is not None
    python, release = found.groups()
    sites = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    site = next(one for one in sites.stdout.splitlines() if one.startswith("http"))
    packages = "--include=python3,python3-venv,ca-certificates"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", packages, release, str(base), site],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:]
    # As the image of Python has it: its own `python` and `pip`, in /usr/local.
    _run(Stage(base), "python3 -m venv /usr/local")
    _run(
        Stage(base), f"""test "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = {python}"""
    )


def _run(stage: Stage, line: str) -> None:
    """A step of the build: as root, with the network."""
    mounts = [
        f'touch "$root{path}" && mount --bind {path} "$root{path}"' for path in NETWORK if Path(path).exists()
    ]
    machine = {
        name: value
        for name, value in os.environ.items()
        if name in ("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "SSL_CERT_FILE")
        or name.lower().endswith("_proxy")
    }
    command = stage.inside(["/bin/sh", "-c", line], environment=machine, mounts=mounts, as_user=False)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"RUN {line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def _copy(stage: Stage, words: list[str], stages: Mapping[str, Stage]) -> None:
    """Files of another stage, or those of the checkout that the build sees."""
    if words[0].startswith("--from="):
        source, target = words[1:]
        origin = stages[words[0].removeprefix("--from=")].root
        subprocess.run(["cp", "-aT", f"{origin}{source}", f"{stage.root}{target}"], check=True)
        return
    *sources, target = words
    inside = stage.root / Path(stage.folder).relative_to("/") / target
    for name in _context():
        if sources == ["."]:
            _put(ROOT / name, inside / name)
        elif name in sources:
            assert target.endswith("/"), "several files go into a folder"
            _put(ROOT / name, inside / Path(name).name)


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    target.chmod(0o600)  # as in the checkout of somebody careful


def _context() -> Iterator[str]:
    """The files of the checkout that the build sees."""
    for folder, folders, names in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        folders[:] = [one for one in folders if one not in (".git", ".venv", "node_modules")]
        for name in names:
            path = (here / name).as_posix()
            if in_build(path):
                yield path


def _note(stage: Stage, name: str, rest: str) -> None:
    """What a step says of how a container begins."""
    match name:
        case "ENV":
            stage.environment |= dict(re.findall(r"(\w+)=(\S+)", rest))
        case "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            stage.user = rest
        case "VOLUME":
            stage.volume = rest
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        case "CMD":
            stage.words = json.loads(rest)
        case "HEALTHCHECK":
            stage.health = json.loads(rest[rest.index("CMD ") + 4 :])
        case "LABEL" | "EXPOSE" | "STOPSIGNAL":
            pass  # said to engines
        case _:
            raise AssertionError(f"{name} is not known here")
