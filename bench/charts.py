"""Charts as SVG, drawn here: lines and bars with axes, readable in light and dark, no script, no font from elsewhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2f6fde", "#d9822b", "#2c9c5a", "#b8405e", "#7a52c7", "#3aa6b9")
WIDTH, HEIGHT = 640, 256
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 46, 40


@dataclass(frozen=True)
class Line:
    """Points in order of x; y of None is a gap."""

    name: str
    points: Sequence[tuple[float, float | None]]


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str = "",
    y_label: str = "",
    marks: Sequence[tuple[float, str]] = (),
    limit: float | None = None,
    log_x: bool = False,
    log_y: bool = False,
    x_ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines over common axes. `marks` are labelled moments on the x axis, `limit` a dashed horizontal."""
    xs = [x for line in lines for x, _ in line.points] or [0.0, 1.0]
    ys = [y for line in lines for _, y in line.points if y is not None] + ([limit] if limit else []) or [1.0]
    across = _Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, log_x)
    low = min((y for y in ys if y > 0), default=1.0) if log_y else 0.0
    up = _Scale(low, max(ys), HEIGHT - BOTTOM, TOP, log_y, loose=True)
    parts = [_frame(title, y_label, x_label)]
    parts += [_grid_y(up, value) for value in up.ticks()]
    parts += [_tick_x(across(x), text) for x, text in x_ticks or [(x, _number(x)) for x in across.ticks()]]
    for x, text in marks:
        at = max(across(x), LEFT)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" class="mark"/>')
        parts.append(f'<text x="{at + 3:.1f}" y="{TOP + 10}" class="small">{escape(text)}</text>')
    if limit:
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(limit):.1f}" y2="{up(limit):.1f}" class="limit"/>')
    for place, line in enumerate(lines):
        colour = COLOURS[place % len(COLOURS)]
        parts.append(f'<path d="{_path(line, across, up)}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if len(line.points) <= 16:
            dots = ((across(x), up(y)) for x, y in line.points if y is not None)
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in dots]
    parts.append(_legend([line.name for line in lines]))
    return "".join([*parts, "</svg>"])


def bar_chart(title: str, bars: Sequence[tuple[str, float]], *, unit: str = "") -> str:
    """One horizontal bar a name, its number beside it."""
    top = max((value for _, value in bars), default=0.0) or 1.0
    height = 40 + 26 * len(bars)
    parts = [_open(height), f'<text x="10" y="20" class="title">{escape(title)}</text>']
    for place, (name, value) in enumerate(bars):
        y, width = 34 + 26 * place, (WIDTH - 330) * value / top
        parts.append(f'<text x="200" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="208" y="{y}" width="{max(width, 1):.1f}" height="18" rx="2" fill="{COLOURS[place % len(COLOURS)]}"/>'
        )
        parts.append(f'<text x="{214 + width:.1f}" y="{y + 13}">{escape(_number(value))} {escape(unit)}</text>')
    return "".join([*parts, "</svg>"])


STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-size:14px;font-weight:600;fill:#24292f}"
    ".small{font-size:10px}.grid{stroke:#8884;stroke-width:1}.axis{stroke:#8889;stroke-width:1}"
    ".mark{stroke:#8887;stroke-dasharray:2 3}.limit{stroke:#b8405e;stroke-dasharray:6 4}"
    "@media(prefers-color-scheme:dark){text{fill:#9aa4af}.title{fill:#e6edf3}}"
)


def _open(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
        f"<style>{STYLE}</style>"
    )


def _frame(title: str, y_label: str, x_label: str) -> str:
    base = HEIGHT - BOTTOM
    return (
        _open(HEIGHT)
        + f'<text x="10" y="18" class="title">{escape(title)}</text>'
        + f'<text x="{LEFT - 6}" y="{TOP - 10}" text-anchor="end" class="small">{escape(y_label)}</text>'
        + f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end" class="small">{escape(x_label)}</text>'
        + f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" class="axis"/>'
    )


def _grid_y(up: "_Scale", value: float) -> str:
    y = up(value)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(_number(value))}</text>'
    )


def _tick_x(x: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(text)}</text>'


def _legend(names: Sequence[str]) -> str:
    parts, x = [], LEFT
    for place, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="{HEIGHT - 14}" width="10" height="10" fill="{COLOURS[place % len(COLOURS)]}"/>')
        parts.append(f'<text x="{x + 14}" y="{HEIGHT - 5}">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    return "".join(parts)


def _path(line: Line, across: "_Scale", up: "_Scale") -> str:
    said, pen = [], "M"
    for x, y in line.points:
        if y is None:
            pen = "M"
            continue
        said.append(f"{pen}{across(x):.1f} {up(y):.1f}")
        pen = "L"
    return "".join(said)


class _Scale:
    """From values to pixels, evenly or by logarithm."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False, loose: bool = False) -> None:
        self._log = log
        if log:
            low, high = max(low, 1e-6), max(high, 1e-6)
        if loose and not log:
            step = _step(high - low)
            high = math.ceil(high / step) * step
        if high <= low:
            high = low * 10 if log and low else low + 1
        self.low, self.high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self._log:
            value, low, high = (math.log10(max(each, 1e-6)) for each in (value, low, high))
        return self._start + (self._end - self._start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values to write on the axis."""
        if self._log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            decades = [10.0**power for power in range(first, last + 1)]
            return [value for value in decades if self.low * 0.999 <= value <= self.high * 1.001] or [self.low, self.high]
        step = _step(self.high - self.low)
        count = int((self.high - self.low) / step + 1e-9)
        return [self.low + step * place for place in range(count + 1)]


def _step(span: float) -> float:
    if span <= 0:
        return 1.0
    rough = span / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999))


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
