"""Profiles as tables, in text and in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from graphc.wording import few

if TYPE_CHECKING:
    from graphc.inspection.profile import Profile, ProfiledStep

__all__ = ["html_table", "table"]

HEADS = ("time", "share", "times", "threads", "GFLOP/s", "GB/s", "of roof", "step", "lines")
_SIDES = ">>>>>>><<"
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
# Below this share of a call, what lies between steps or overlaps is not worth a line.
_SHOWN = 1e-3


def table(profile: Profile) -> str:
    """Return a profile as text."""
    rows = [HEADS, *_rows(profile)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    loops = [f"  {_loop_text(s)}" for s in profile.steps if not s.is_leaf and s.executions]
    rest = ["loops and branches, whose kernels stand above:", *loops] if loops else []
    return "\n".join([_headline(profile), *lines, *rest, *_remarks(profile)])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (f"{text:{side}{width}}" for text, side, width in zip(row, _SIDES, widths, strict=True))
    return ("  " + "  ".join(cells)).rstrip()


def _rows(profile: Profile) -> list[tuple[str, ...]]:
    leaves = [s for s in profile.steps if s.is_leaf and s.executions]
    found = [_row(s, profile) for s in sorted(leaves, key=lambda s: -s.elapsed)]
    others = [
        ("between steps: handing out blocks, waiting, loops", profile.between),
        ("steps that ran at the same time", -profile.overlap),
        ("before and after: feeds, results, waking threads", profile.around),
    ]
    shown = [(what, t) for what, t in others if abs(t) >= _SHOWN * profile.seconds]
    found += [_row_of_time(what, t, profile) for what, t in [*shown, ("together", profile.seconds)]]
    return found


def _row(step: ProfiledStep, profile: Profile) -> tuple[str, ...]:
    return (
        seconds(step.elapsed),
        percent(step.elapsed / profile.seconds),
        str(step.executions),
        str(step.threads),
        _giga(step.flops_per_second),
        _giga(step.bytes_per_second),
        percent(step.share_of_roof),
        step.name,
        _placed(step),
    )


def _row_of_time(what: str, time: float, profile: Profile) -> tuple[str, ...]:
    return seconds(time), percent(time / profile.seconds), *[""] * 5, what, ""


def _headline(profile: Profile) -> str:
    sizes = "".join(f", {name}={size}" for name, size in profile.sizes.items())
    threads = f"{profile.threads} thread{'s' if profile.threads > 1 else ''}"
    return f"program {profile.program}{sizes}: {seconds(profile.seconds)} a call on {threads}"


def _remarks(profile: Profile) -> list[str]:
    calls = f"median of {profile.calls} calls; the fastest took" if profile.calls > 1 else "one call, of"
    plain = f"{seconds(profile.fastest_plain)} without timing ({profile.overhead:.2f} times as long)"
    found = [f"{calls} {seconds(profile.fastest)}, and {plain}"]
    if profile.dropped:
        found.append(f"{profile.dropped} spans were counted and not kept")
    return found


def _loop_text(step: ProfiledStep) -> str:
    times = f"{step.executions} times" if step.executions > 1 else "once"
    return f"{seconds(step.elapsed)}  {step.name}, run {times}  {_placed(step)}"


def seconds(time: float) -> str:
    """Return a duration with a unit.

    Examples
    --------
    >>> seconds(0.0123), seconds(4.5e-7), seconds(0.0)
    ('12.3 ms', '0.45 us', '0 us')
    """
    unit, name = next((u for u in _UNITS if abs(time) >= u[0]), _UNITS[-1])
    return f"{_three_digits(time / unit)} {name}"


def _three_digits(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 or not size else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def percent(share: float | None) -> str:
    """Return a share; nothing where it is not known.

    Examples
    --------
    >>> percent(0.257), percent(0.004), percent(None)
    ('26 %', '0.4 %', '')
    """
    if share is None:
        return ""
    return f"{share:.0%}".replace("%", " %") if abs(share) >= 0.01 else f"{100 * share:.1f} %"


def _giga(rate: float | None) -> str:
    return "" if rate is None else _three_digits(rate / 1e9)


def places(where: Sequence[str]) -> str:
    """Return lines by file, shortened to the files' own names.

    Examples
    --------
    >>> places(("models/net.py:7", "models/net.py:3", "train.py:1"))
    'net.py:3,7, train.py:1'
    """
    files: dict[str, list[str]] = {}
    for place in where:
        name, _, line = place.rpartition(":")
        files.setdefault(PurePath(name).name, []).append(line)
    return ", ".join(f"{name}:{','.join(sorted(lines, key=int))}" for name, lines in files.items())


def _placed(step: ProfiledStep) -> str:
    scopes = f" in {few(list(step.scopes), 3)}" if step.scopes else ""
    return f"{places(step.where)}{scopes}"


# ------------------------------------------------------------------------ HTML
_STYLE = "text-align:{side};padding:0.1em 0.6em;font-family:monospace"
_BAR = "linear-gradient(to right, rgba(70,130,220,0.35) {share:.1f}%, transparent {share:.1f}%)"


def html_table(profile: Profile) -> str:
    """Return a profile as an HTML table, for notebooks."""
    leaves = sorted((s for s in profile.steps if s.is_leaf and s.executions), key=lambda s: -s.elapsed)
    shares = [s.elapsed / profile.seconds for s in leaves]
    rows = _rows(profile)
    shares += [0.0] * (len(rows) - len(shares))
    body = "".join(_html_row(row, share) for row, share in zip(rows, shares, strict=True))
    notes = html.escape("; ".join(_remarks(profile)))
    title = html.escape(_headline(profile))
    return f"<table><caption>{title}</caption>{_html_heads()}{body}</table><p>{notes}</p>"


def _html_heads() -> str:
    return f"<tr>{''.join(f'<th>{html.escape(head)}</th>' for head in HEADS)}</tr>"


def _html_row(row: Sequence[str], share: float) -> str:
    cells = []
    for text, side, head in zip(row, _SIDES, HEADS, strict=True):
        style = _STYLE.format(side="right" if side == ">" else "left")
        bar = f";background:{_BAR.format(share=100 * share)}" if head == "step" and share > 0 else ""
        cells.append(f'<td style="{style}{bar}">{html.escape(text)}</td>')
    return f"<tr>{''.join(cells)}</tr>"
