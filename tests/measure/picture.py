# SPDX-License-Identifier: MIT
"""The bench as a picture: two charts of bars in one SVG, readable on white and on black backgrounds."""
import html
import math

WIDTH, LEFT, RIGHT, BAR, GAP = 820, 300, 90, 16, 8
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.small { font-size: 11px; fill: #59636e }
.grid { stroke: #d1d9e0 }
.limit { stroke: #cf222e; stroke-dasharray: 4 3 }
.ours { fill: #1f6feb }
.theirs { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .limit { stroke: #f85149 }
  .ours { fill: #58a6ff }
  .theirs { fill: #6e7681 }
}
"""


def _text(x, y, words, css="", anchor="start"):
    css = f' class="{css}"' if css else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{css} text-anchor="{anchor}">{html.escape(words)}</text>'


def _bars(bars, top, title, note, scale, ticks):
    """(what to draw, the y below it). bars: (label, share for the scale, words, css)."""
    out = [_text(20, top, title, "title"), _text(20, top + 18, note, "small")]
    y = top + 34
    bottom = y + len(bars) * (BAR + GAP)
    for value, words, css in ticks:
        x = LEFT + scale(value)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{bottom}" class="{css}"/>')
        out.append(_text(x, y - 4 if css == "limit" else bottom + 14, words, "small", "middle"))
    for label, value, words, css in bars:
        length = max(scale(value), 1)
        out.append(_text(LEFT - 8, y + BAR - 3, label, "", "end"))
        out.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" '
                   f'class="{css}"/>')
        out.append(_text(LEFT + length + 6, y + BAR - 3, words))
        y += BAR + GAP
    return out, bottom + 46


def _css(what):
    return "ours" if "twshim" in what or what.startswith("/metrics") else "theirs"


def _cycles(rows, top):
    """What each adds to a cycle, in percent; on a logarithmic scale, because of strace."""
    rows = sorted((r for r in rows if r.get("group") == "cycle"), key=lambda r: r["value"])
    bars = []
    for row in rows:
        added = (row["value"] - 1) * 100
        words = f"{added:.1f} %" if added < 100 else f"{row['value']:.1f} times"
        bars.append((row["what"].split(": ", 1)[1], added, words, _css(row["what"])))
    most = math.log10(max([b[1] for b in bars] + [100]))
    room = WIDTH - LEFT - RIGHT

    def scale(percent):
        return max(math.log10(max(percent, 0.1)) + 1, 0) / (most + 1) * room
    ticks = [(p, f"{p:g} %", "grid") for p in (0.1, 1, 10, 100)] + [(5, "limit 5 %", "limit")]
    return _bars(bars, top, "What is added to a connection",
                 "connect, request, reply, close on one core; logarithmic", scale, ticks)


def _reading(rows, top):
    """Reading at 28,000 sockets and 1,000 segments."""
    rows = [r for r in rows if r.get("group") == "28000/1000"]
    most = max([r["value"] for r in rows] + [1])

    def scale(milliseconds):
        return milliseconds / most * (WIDTH - LEFT - RIGHT)
    bars = [(r["what"].split(",")[0], r["value"], f"{r['value']:.0f} ms", _css(r["what"]))
            for r in rows]
    title = "Time to read" + (" " + rows[0]["what"].split(", ", 1)[1] if rows else "")
    return _bars(bars, top, title, "wall time of one command, or of one scrape", scale, [])


def draw(known):
    """The SVG of all rows that are there."""
    parts, y = [], 30
    for chart in (_cycles, _reading):
        drawn, y = chart(known["rows"], y)
        parts += drawn
    parts.append(_text(20, y - 18, known.get("machine", ""), "small"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
            f'width="{WIDTH}" height="{y}">\n<title>What twshim costs</title>\n'
            f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n")
