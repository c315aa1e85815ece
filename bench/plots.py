"""Draws what was measured (bench/results/*.json) to docs/performance/*.svg: `python -m bench.plots`.

The text of the pictures stays text, in a grey that can be read on white and on black; so do the lines. Nothing in them but
the data depends on when or where they were drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from bench.results import read

FOLDER: Final = Path(__file__).parent.parent / "docs" / "performance"
GREY: Final = "#7d8590"
COLOURS: Final = {
    "no-op POST": GREY,
    "no-op GET": "#b08800",
    "verify": "#2f81f7",
    "least": "#79c0ff",
    "status": "#2da44e",
    "FastAPI, Redis": "#e5534b",
    "FastAPI, Redis, fsync always": "#bf6bd9",
    "django-otp, SQLite": "#d4772c",
    "request": "#bf6bd9",
    "old status": "#1b9e9e",
    "send": "#e5534b",
}
NAMES: Final = {
    "no-op POST": "a handler that does nothing, POST",
    "no-op GET": "a handler that does nothing, GET",
    "verify": "tapcode verify (each on disk)",
    "least": "the least that is durable (bench.floor)",
    "status": "tapcode status",
    "FastAPI, Redis": "FastAPI + Redis (may be lost)",
    "FastAPI, Redis, fsync always": "FastAPI + Redis (each on disk)",
    "django-otp, SQLite": "django-otp + SQLite (each on disk)",
    "old status": "status of a request that is over",
}
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "tapcode",
        "font.family": "sans-serif",
        "font.size": 11,
        "text.color": GREY,
        "axes.labelcolor": GREY,
        "axes.edgecolor": GREY,
        "axes.titlecolor": GREY,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": GREY,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "lines.markersize": 5,
    }
)


def plain(value: float, _place: object = None) -> str:
    """A number as people write it."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def lines(axes: Axes, at: list[float], series: dict[str, list[float]], title: str, below: str) -> None:
    """Both axes logarithmic: what is twice as much is as far apart everywhere."""
    for name, values in series.items():
        dashed = "--" if name.startswith("no-op") else "-"
        axes.plot(at, values, dashed, marker="o", color=COLOURS[name], label=NAMES.get(name, name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(at, [plain(one) for one in at])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel(below)


def save(name: str, figure: Any, columns: int) -> None:
    """One legend for all, and no background."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=columns)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    print(f"docs/performance/{name}.svg")


def callers(data: dict[str, Any]) -> None:
    """Throughput and p99 over those who call at once."""
    at = [int(one) for one in data["callers"]]
    kinds = next(iter(data["callers"].values()))
    figure, (rate, slow) = plt.subplots(1, 2, figsize=(11, 5.2))
    for axes, key, title in ((rate, "rate", "calls a second"), (slow, "p99_ms", "p99, milliseconds")):
        series = {kind: [data["callers"][str(n)][kind][key] for n in at] for kind in kinds}
        lines(axes, [float(n) for n in at], series, title, "callers at once")
    figure.tight_layout(rect=(0, 0.22, 1, 1))
    save("callers", figure, 2)


def sizes(found: list[dict[str, Any]]) -> None:
    """p99 over the size, waiting for the purge and while it runs, as a multiple of an empty database's in the same run."""
    at = [float(one["subscribers"]) for one in found]
    phases = [one for one in ("waiting", "purging") if one in found[0]]
    counts = list(found[0][phases[0]])
    figure, every = plt.subplots(
        len(phases), len(counts), figsize=(11, 4 * len(phases)), sharey=True, squeeze=False
    )
    for row, phase in zip(every, phases, strict=True):
        for axes, count in zip(row, counts, strict=True):
            kinds = found[0][phase][count]
            series = {
                kind: [
                    one[phase][count][kind]["large"]["p99_ms"] / one[phase][count][kind]["empty"]["p99_ms"]
                    for one in found
                ]
                for kind in kinds
            }
            what = "purge to come" if phase == "waiting" else "while it is purged"
            people = "1 caller" if count == "1" else f"{count} callers"
            lines(
                axes,
                at,
                series,
                f"p99, times an empty database's: {people}, {what}",
                "subscribers (and ten requests for each)",
            )
            axes.set_yscale("linear")
            axes.set_ylim(0, max(2.0, *(max(values) for values in series.values())) + 0.1)
            axes.axhline(1.5, color=GREY, linewidth=1, linestyle=":")
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    save("size", figure, 5)


if __name__ == "__main__":
    if (measured := read("hot")) is not None:
        callers(measured)
    if by_size := [
        one for n in (1_000, 10_000, 100_000, 1_000_000) if (one := read(f"size-{n}")) is not None
    ]:
        sizes(by_size)
