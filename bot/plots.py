"""The digest's picture, readable on a phone. It loads matplotlib; import it late."""

from __future__ import annotations

from datetime import date
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bot import words
from bot.digest import HOUR_US, Digest
from fleet.schedule.times import local_time

_GOOD, _BAD, _GREY, _INK, _PALE_INK = "#1a7f4b", "#c0392b", "#9aa5b1", "#1f2933", "#52606d"
_PAPER, _RULE = "#ffffff", "#e4e7eb"
_GATE_COLOUR = {"passed": _GOOD, "failed": _BAD, "timed-out": _BAD}
_MOST_BARS, _MOST_MACHINES, _NAME, _DAY_H = 31, 4, 12, 24
_YEAR = 365


def digest_picture(digest: Digest) -> bytes:
    """A PNG of 1080 by 1080 pixels."""
    drawn = BytesIO()
    canvas = FigureCanvasAgg(digest_figure(digest))
    canvas.print_png(drawn, metadata={"Software": "airboss"})  # type: ignore[no-untyped-call]  # no types there
    return drawn.getvalue()


def digest_figure(digest: Digest) -> Figure:
    """Calls over time with the peak marked, how gate runs ended, machines' use, and the cost. Its paper is opaque:
    it is read on a chat's dark background as on a light one."""
    figure = Figure(figsize=(7.2, 7.2), dpi=150, facecolor=_PAPER)
    figure.set_layout_engine("constrained", w_pad=0.2, h_pad=0.2, hspace=0.1)
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 2))
    _calls(figure.add_subplot(grid[0, :]), digest)
    _gates(figure.add_subplot(grid[1, 0]), digest)
    _machines(figure.add_subplot(grid[1, 1]), digest)
    return figure


def _bare(axes: Axes, title: str, *, pad: int) -> None:
    axes.set_title(title, loc="left", fontsize=20, fontweight="bold", color=_INK, pad=pad)
    axes.tick_params(length=0, labelsize=16, labelcolor=_INK, pad=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)


def _calls(axes: Axes, digest: Digest) -> None:
    total = digest.figures.tool_calls
    cost = f" · {words.money(digest.cost_udollar)}" if digest.cost_udollar else ""
    _bare(axes, f"{words.count_of(total, 'tool call')}{cost}", pad=24)
    labels, heights, days = _by_hours(digest) or _by_days(digest)
    if not heights:
        _empty(axes, "No tool call ended in this period.")
        return
    slots, most = len(heights), max(heights)
    at_peak = heights.index(most)  # the first of several, as the figures say it
    colours = [_INK if slot == at_peak else _GOOD for slot in range(slots)]
    bars = axes.bar(range(slots), heights, color=colours, width=0.8)
    peak, early = bars[at_peak], at_peak < slots / 8
    axes.annotate(
        f"{most:,}" + (f" in {days} days" if days > 1 else ""),
        (peak.get_x() + (0 if early else peak.get_width() / 2), most),
        xytext=(0, 6),
        textcoords="offset points",
        ha="left" if early else "center",
        fontsize=18,
        fontweight="bold",
        color=_INK,
        bbox={"facecolor": _PAPER, "edgecolor": "none", "pad": 1},  # no line goes through the number
    )
    axes.set_xlim(-max(0.6, 2.5 - slots / 2), slots - 1 + max(0.6, 2.5 - slots / 2))
    step = max(1, -(-slots // 5))
    axes.set_xticks(range(0, slots, step), labels[::step])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=_RULE, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_ylim(0, max(3, most) * 1.15)


def _machines(axes: Axes, digest: Digest) -> None:
    used = digest.figures.by_machine.most_common(_MOST_MACHINES)[::-1]
    _bare(axes, "Machines", pad=14)
    if not used:
        _empty(axes, "No machine had a call.")
        return
    names = [name[:_NAME] or "?" for name, _ in used]
    _bars(axes, names, [count for _, count in used], [_GREY] * len(used))


def _bars(axes: Axes, names: list[str], counts: list[int], colours: list[str]) -> None:
    bars = axes.barh(range(len(names)), counts, color=colours, height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=8, fontsize=16, color=_INK)
    axes.set_xlim(0, max(counts) * 1.5)
    axes.set_ylim(-0.6, max(len(names), 3) - 0.4)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _by_hours(digest: Digest) -> tuple[list[str], list[int], int] | None:
    """Calls by hour, by the clocks of the figures' zone; ``None`` for more than a day."""
    by_hour = digest.figures.by_hour
    first, last = min(by_hour, default=0), max(by_hour, default=0)
    if not by_hour or last - first >= _DAY_H:
        return None
    hours = range(first, last + 1)
    labels = [local_time(hour * HOUR_US, digest.figures.zone).strftime("%H:%M") for hour in hours]
    return labels, [by_hour[hour] for hour in hours], 0


def _by_days(digest: Digest) -> tuple[list[str], list[int], int]:
    """Calls by day, as the headline counts them; by several days where they are too many to draw."""
    rows = digest.figures.by_days()
    width = max(1, -(-len(rows) // _MOST_BARS))
    form = "%d %b" if len(rows) <= _YEAR else "%b %Y"
    parts = [rows[at : at + width] for at in range(0, len(rows), width)]
    labels = [date.fromisoformat(part[0]["date"]).strftime(form) for part in parts]
    return labels, [sum(row["calls"] for row in part) for part in parts], width


def _gates(axes: Axes, digest: Digest) -> None:
    total = sum(digest.gates.values())
    _bare(axes, f"{total} gate {'run' if total == 1 else 'runs'}", pad=14)
    if not total:
        _empty(axes, "No gate ran.")
        return
    names = sorted(digest.gates, key=lambda name: digest.gates[name])
    counts = [digest.gates[name] for name in names]
    _bars(axes, names, counts, [_GATE_COLOUR.get(name, _GREY) for name in names])


def _empty(axes: Axes, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=16, color=_PALE_INK, transform=axes.transAxes)
