"""What stands in the files that people deploy with: read once, for the tests that hold them against the program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
DOCKERFILE, COMPOSE = ROOT / "Dockerfile", ROOT / "compose.yaml"
UNIT, COMMAND = ROOT / "deploy" / "tapcode.service", ROOT / "deploy" / "tapcode"
NGINX, CADDY, KUBERNETES = (ROOT / "deploy" / name for name in ("nginx.conf", "Caddyfile", "kubernetes.yaml"))
FILES = (DOCKERFILE, ROOT / ".dockerignore", COMPOSE, UNIT, COMMAND, NGINX, CADDY, KUBERNETES)


def text(path: Path) -> str:
    """A file's text."""
    return path.read_text(encoding="utf-8")


# ------------------------------------------------------------------ Dockerfile


@dataclass(frozen=True)
class Step:
    """One instruction."""

    name: str
    rest: str
    stage: int


def steps() -> list[Step]:
    """The Dockerfile's instructions in order; what stands before the first FROM is of stage -1."""
    plain = "\n".join(line for line in text(DOCKERFILE).splitlines() if not line.startswith("#"))
    found, stage = [], -1
    for line in re.sub(r"\\\n\s*", "", plain).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            stage += name == "FROM"
            found.append(Step(name, rest.strip(), stage))
    return found


def last(name: str) -> str:
    """What the last instruction of a name says."""
    return [step.rest for step in steps() if step.name == name][-1]


def image_environment() -> dict[str, str]:
    """What a container's environment begins with."""
    return dict(re.findall(r"(\w+)=(\S+)", last("ENV")))


def in_build(path: str) -> bool:
    """Whether `docker build` sees a file, by .dockerignore: the last line that fits decides, for what lies below too."""
    inside = True
    for line in text(ROOT / ".dockerignore").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if not pattern or pattern.startswith("#"):
            continue
        parts = path.split("/")
        if line.startswith("**/"):
            fits = any(fnmatchcase(part, pattern) for part in parts)
        else:
            fits = any(fnmatchcase("/".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))
        if fits:
            inside = line.startswith("!")
    return inside


# ------------------------------------------------------------------ the others


def compose() -> Any:
    """compose.yaml, its anchors in their places."""
    return yaml.safe_load(text(COMPOSE))


def kubernetes() -> dict[str, Any]:
    """The objects, by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(text(KUBERNETES))}


def unit() -> dict[str, list[str]]:
    """The unit's words, in order, whatever their section."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text(UNIT), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def passed() -> dict[str, list[str]]:
    """The paths that each proxy passes; a * at the end stands for what is below."""
    nginx = re.findall(r"location (= )?(/\S*) +\{ proxy_pass http://tapcode;", text(NGINX))
    caddy = re.search(r"^\t@ours path (.*)$", text(CADDY), re.MULTILINE)
    assert caddy is not None
    rules = kubernetes()["Ingress"]["spec"]["rules"][0]["http"]["paths"]
    below: list[str] = []
    for one in rules:
        below += [one["path"], f"{one['path']}/*"] if one["pathType"] == "Prefix" else [one["path"]]
    return {
        "nginx": [path if exact else f"{path}*" for exact, path in nginx],
        "caddy": caddy[1].split(),
        "kubernetes": below,
    }


def is_passed(path: str, patterns: list[str]) -> bool:
    """Whether a proxy that passes these would pass a path."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)
