"""The results of the benchmark as pictures. ::

    nox -s picture -- results.json                 # draws docs/benchmarks.svg, docs/growth.svg

The file is what ``--json`` has written; each of the pictures is drawn if it holds what is shown.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
matplotlib.rcParams["svg.hashsalt"] = "aiowire"  # the same results, the same file

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator  # noqa: E402

DOCS = Path(__file__).parent.parent / "docs"
COLOURS = {"pass": "#2a7f62", "MISS": "#c1442e", None: "#8fa3ad"}
ORDER = (None, "pass", "MISS")  # from the back to the front
MARKERS = {"asyncio": "o", "uvloop": "s", "trio": "^"}
TICKS = (0.001, 0.01, 0.1, 0.3, 1, 3, 10)


def machine_of(results: dict[str, Any]) -> str:
    """Say on what it was measured, and when."""
    told = results["machine"]
    return ", ".join(
        (
            told["date"][:10],
            f"CPython {told['python_version'].split()[0]}",
            f"{told['cpu_count']} × {told['cpu_model_name']}",
            *(f"{name} {told[name]}" for name in ("aiowire", "anyio", "trio", "uvloop")),
        )
    )


def draw_table(results: dict[str, Any], path: Path) -> None:
    """Draw each ratio as a mark, and each target as a line: left of 1 ours is the faster."""
    lines = [line for line in results["lines"] if line["ratio"]]
    keys = list(dict.fromkeys((line["what"], line["against"]) for line in lines))
    figure, axes = plt.subplots(figsize=(14, 1.5 + 0.24 * len(keys)))
    for line in lines:
        row = len(keys) - keys.index((line["what"], line["against"]))
        axes.plot(
            line["ratio"],
            row,
            MARKERS.get(line["backend"], "D"),
            color=COLOURS[line["result"]],
            zorder=2 + ORDER.index(line["result"]),  # no mark hides one that missed its target
        )
        if line["target"] is not None:
            axes.plot([line["target"]] * 2, [row - 0.4, row + 0.4], "-", color="black", lw=1.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.axvline(1, color="#cccccc", zorder=0)
    axes.set_yticks(range(len(keys), 0, -1), [f"{what}, against {who}" for what, who in keys])
    axes.set_ylim(0, len(keys) + 1)
    axes.set_xlabel("time of aiowire / time of the other, each in the same run; | is the target")
    axes.grid(axis="y", color="#eeeeee")
    for name, marker in MARKERS.items():
        axes.plot([], [], marker, color="black", label=name)
    for result, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=result or "no target")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, frameon=False)
    figure.text(0.01, 0.002, machine_of(results), fontsize=7)
    save(figure, path)


def draw_growth(results: dict[str, Any], path: Path) -> None:
    """Draw the time of an operation over the size of what grows."""
    points = results["growth"]
    plots = list(dict.fromkeys((point["what"], point["grows"]) for point in points))
    figure, grid = plt.subplots(2, 3, figsize=(11, 6.5), squeeze=False)
    for (what, grows), axes in zip(plots, grid.flat, strict=False):
        for name, marker in MARKERS.items():
            mine = [
                point
                for point in points
                if (point["what"], point["grows"], point["backend"]) == (what, grows, name)
            ]
            sizes = [point["size"] for point in mine]
            axes.plot(
                sizes, [point["seconds"] * 1e6 for point in mine], f"{marker}-", label=name, ms=4
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(what, fontsize=9)
        axes.set_xlabel(grows, fontsize=8)
        axes.set_ylabel("µs", fontsize=8)
        axes.grid(color="#eeeeee", which="both")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_ylim()
        axes.set_ylim(low / 5, high * 5)  # what is flat looks flat
    grid.flat[0].legend(fontsize=8)
    figure.text(0.01, 0.005, machine_of(results), fontsize=7)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a picture."""
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    print(path)


def draw(results: dict[str, Any]) -> None:
    """Draw what there is of the results."""
    if results["lines"]:
        draw_table(results, DOCS / "benchmarks.svg")
    if results["growth"]:
        draw_growth(results, DOCS / "growth.svg")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()))
