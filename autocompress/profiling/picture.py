"""A profile drawn: what the kinds of layers hold and take, the roofline, and what could be saved at most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.errors import ConfigError
from autocompress.profiling.kinds import KINDS
from autocompress.profiling.profile import Profile
from autocompress.profiling.table import sentences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png", ".pdf")


def check(file: Path) -> None:
    """Raise `ConfigError` before anything is measured if `file` could not be drawn."""
    if file.suffix not in FORMATS:
        raise ConfigError(f"--picture: should be a file that ends in {', '.join(FORMATS)}. Got {str(file)!r}.")
    if not file.parent.is_dir():
        raise ConfigError(f"--picture: should be in a folder that exists. Got {str(file)!r}.")


def draw(profile: Profile, file: Path) -> None:
    """Write the picture, in the format of the file's name."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "font.size": 8.5}):  # text stays text
        figure = Figure(figsize=(11, 7.6), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.1, 1), height_ratios=(0.7, 1))
        _draw_shares(profile, figure.add_subplot(grid[0, :]))
        _draw_roofline(profile, figure.add_subplot(grid[1, 0]))
        _draw_savings(profile, figure.add_subplot(grid[1, 1]))
        figure.suptitle("\n".join(sentences(profile)), fontsize=9, ha="left", x=0.01)
        figure.savefig(file, dpi=150)


def _draw_shares(profile: Profile, axes: Axes) -> None:
    """One bar a quantity, a colour a kind."""
    from matplotlib.patches import Patch

    whole = profile.all
    quantities = {
        "parameters": [row.parameters / whole.parameters for row in profile.kinds],
        "bytes": [row.bytes / whole.bytes for row in profile.kinds],
        "multiply-adds": [row.multiply_adds / whole.multiply_adds for row in profile.kinds],
    }
    if all(row.share is not None for row in profile.kinds):
        quantities["latency"] = [row.share or 0.0 for row in profile.kinds]
    for y, shares in enumerate(quantities.values()):
        left = 0.0
        for row, share in zip(profile.kinds, shares, strict=True):
            axes.barh(y, share, 0.7, left=left, color=_colour(row.kind), edgecolor="white", linewidth=0.5)
            if share > 0.03:
                axes.text(left + share / 2, y, f"{share:.0%}", ha="center", va="center", color="white")
            left += share
    handles = [Patch(color=_colour(row.kind), label=row.kind) for row in profile.kinds]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=9, frameon=False)
    axes.set_yticks(range(len(quantities)), list(quantities))
    axes.set(xlim=(0, 1), xticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)


def _draw_roofline(profile: Profile, axes: Axes) -> None:
    """Both axes logarithmic: operations a byte against operations a second."""
    speeds = profile.speeds
    points = [(row.kind, row.flops_per_byte, row.gflops) for row in profile.kinds if row.flops_per_byte and row.gflops]
    intensities = [x for _, x, _ in points] + [speeds.ridge]
    low, high = min(intensities) / 2, max(intensities) * 4
    for peak, name in ((speeds.float32, "float32"), (speeds.int8, "8 bits")):
        if peak:
            axes.plot([low, peak / speeds.memory, high], [low * speeds.memory, peak, peak], color="black", lw=1)
            axes.annotate(f"{name}: {peak:.0f}", (high, peak), (-2, 3), textcoords="offset points", ha="right")
    for (kind, x, y), marker in zip(points, "oDs^vP*Xp", strict=False):
        axes.scatter(x, y, s=45, marker=marker, color=_colour(kind), edgecolors="white", zorder=3, label=kind)
    slope = (low * speeds.ridge) ** 0.5  # half of the way up to the ridge
    axes.annotate(f"memory: {speeds.memory:.0f} GB/s", (slope, slope * speeds.memory), (-6, 3),
                  textcoords="offset points", ha="right")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="operations a byte read or written", ylabel="GFLOP/s")
    axes.set_xlim(left=low / 3)
    axes.set_title("roofline: the ceilings, and what is attained", fontsize=9)
    axes.grid(which="both", alpha=0.15)
    if points:
        axes.legend(loc="lower right")


def _draw_savings(profile: Profile, axes: Axes) -> None:
    """Two thin bars a family: latency and bytes."""
    rows = profile.savings[::-1]
    for i, saving in enumerate(rows):
        axes.barh(i + 0.2, saving.latency or 0.0, 0.36, color="tab:blue", label="latency" if i == 0 else None)
        axes.barh(i - 0.2, saving.bytes, 0.36, color="tab:grey", label="bytes" if i == 0 else None)
    axes.set_yticks(range(len(rows)), [f"{row.family}: {row.what}" for row in rows], fontsize=7.5)
    axes.set(xlim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1], xticklabels=["0", "25 %", "50 %", "75 %", "all"])
    axes.set_title("what could be saved at most", fontsize=9)
    axes.legend(loc="lower right", fontsize=8)


def _colour(kind: str) -> str:
    return f"C{[*KINDS, 'all'].index(kind)}"
