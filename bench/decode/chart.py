"""A chart of the rates as SVG: bars on a logarithmic scale, a group for each protocol."""

import math
from collections.abc import Mapping
from html import escape

WIDTH, LEFT, BAR, GAP = 860, 270, 16, 5
_SHOWN = (
    ("construct", "#9aa0a6"),
    ("struct dict", "#9aa0a6"),
    ("ours in numpy", "#6ba6ff"),
    ("ours in numpy, seal left out", "#6ba6ff"),
    ("ours, sealed", "#1a73e8"),
    ("ours", "#1a73e8"),
    ("ours, seal left out", "#1a73e8"),
    ("C limit", "#34a853"),
)


def chart(rates: Mapping[tuple[str, str, int, int], float]) -> str:
    """The fastest batch of each decoder with one layout; keys are decoder, protocol, batch, layouts."""
    lines, y = [], 34
    for protocol in dict.fromkeys(key[1] for key in rates):
        lines.append(f'<text x="8" y="{y}" font-weight="bold">{escape(protocol)}, reports a second and core</text>')
        y += 10
        for name, colour in _SHOWN:
            found = [rate for (decoder, of, _, layouts), rate in rates.items() if (decoder, of, layouts) == (name, protocol, 1)]
            if found:
                lines += _bar(name, max(found), colour, y)
                y += BAR + GAP
        y += 28
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" {style}>\n' + "\n".join(lines) + "\n</svg>\n"


def _bar(name: str, rate: float, colour: str, y: int) -> list[str]:
    width = max(1, round((WIDTH - LEFT - 110) * (math.log10(rate) - 3) / 5.2))
    middle = y + BAR - 4
    return [
        f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" fill="{colour}"/>',
        f'<text x="{LEFT + width + 6}" y="{middle}">{rate:,.0f}</text>',
    ]
