"""The digest's picture, readable on a phone. It loads matplotlib; import it late."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bot.digest import HOUR_US, Digest

_GOOD, _BAD, _GREY, _INK = "#1a7f4b", "#c0392b", "#9aa5b1", "#1f2933"
_GATE_COLOUR = {"passed": _GOOD, "failed": _BAD, "timed-out": _BAD}
_END_COLOUR = {"landed": _GOOD, "answered": "#5fb98a", "failed": _BAD, "other": _GREY}
_MOST_BARS = 24


def digest_picture(digest: Digest) -> bytes:
    """A PNG of 1080 by 1080 pixels: how tasks ended over time, and how gate runs ended."""
    figure = Figure(figsize=(7.2, 7.2), dpi=150, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.25, h_pad=0.2, hspace=0.12)
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 2))
    _ends(top, digest)
    _gates(bottom, digest)
    drawn = BytesIO()
    canvas.print_png(drawn, metadata={"Software": "airboss"})  # type: ignore[no-untyped-call]  # no types there
    return drawn.getvalue()


def _bare(axes: Axes, title: str, *, pad: int) -> None:
    axes.set_title(title, loc="left", fontsize=20, fontweight="bold", color=_INK, pad=pad)
    axes.tick_params(length=0, labelsize=16, labelcolor=_INK, pad=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)


def _ends(axes: Axes, digest: Digest) -> None:
    total = sum(digest.ends.values())
    _bare(axes, f"{total} {'task' if total == 1 else 'tasks'} ended", pad=36)
    if not total:
        _empty(axes, "No task ended in this period.")
        return
    hours = [hour for hour, _ in digest.ends_by_hour]
    first, last = min(hours), max(hours)
    width = max(1, -(-(last - first + 1) // _MOST_BARS))
    slots = (last - first) // width + 1
    bottom = [0] * slots
    for end, colour in _END_COLOUR.items():
        heights = [0] * slots
        for (hour, name), count in digest.ends_by_hour.items():
            if end == (name if name in _END_COLOUR else "other"):
                heights[(hour - first) // width] += count
        if not any(heights):
            continue
        axes.bar(range(slots), heights, bottom=bottom, color=colour, label=end, width=0.8)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xlim(-max(0.6, 2.5 - slots / 2), slots - 1 + max(0.6, 2.5 - slots / 2))
    step = max(1, -(-slots // 5))
    axes.set_xticks(range(0, slots, step), [_label(first + at * width, width) for at in range(0, slots, step)])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.grid(axis="y", color="#e4e7eb", linewidth=1)
    axes.set_axisbelow(True)
    axes.set_ylim(0, max(3, *bottom) * 1.05)
    axes.legend(
        frameon=False,
        fontsize=16,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=4,
        columnspacing=1.2,
        handlelength=0.9,
        handletextpad=0.4,
        borderaxespad=0.0,
    )


def _label(hour: int, width: int) -> str:
    at = datetime.fromtimestamp(hour * HOUR_US / 1_000_000, UTC)
    return at.strftime("%d %b") if width >= 12 else at.strftime("%H:00")


def _gates(axes: Axes, digest: Digest) -> None:
    total = sum(digest.gates.values())
    _bare(axes, f"{total} gate {'run' if total == 1 else 'runs'}", pad=14)
    if not total:
        _empty(axes, "No gate ran in this period.")
        return
    names = sorted(digest.gates, key=lambda name: digest.gates[name])
    counts = [digest.gates[name] for name in names]
    bars = axes.barh(names, counts, color=[_GATE_COLOUR.get(name, _GREY) for name in names], height=0.6)
    axes.bar_label(bars, padding=8, fontsize=18, color=_INK)
    axes.set_xlim(0, max(counts) * 1.15)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _empty(axes: Axes, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=18, color=_GREY, transform=axes.transAxes)
