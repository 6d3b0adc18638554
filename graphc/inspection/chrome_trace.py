"""Profiles in the Trace Event Format, which Perfetto and chrome://tracing read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc.inspection.profile import Profile, ProfiledStep, Span

__all__ = ["events"]

_PROCESS = 1


def events(profile: Profile) -> dict[str, Any]:
    """Return a profile as an object of the Trace Event Format: a track for each thread, times in us."""
    threads = sorted({span.thread for span in profile.spans} | {0})
    found = [_name("process_name", 0, f"graphc: {profile.program}")]
    found += [_name("thread_name", t, f"helper {t}" if t else "calling thread") for t in threads]
    found.append(_slice(f"call of {profile.program}", "call", 0, 0.0, profile.seconds, {}))
    found += [_span(span, profile.steps[span.step]) for span in profile.spans]
    return {
        "traceEvents": found,
        "displayTimeUnit": "ns",
        "otherData": {"calls": profile.calls, "dropped spans": profile.dropped, **profile.sizes},
    }


def _span(span: Span, step: ProfiledStep) -> dict[str, Any]:
    details = {
        "block": span.block,
        "stage": span.stage,
        "executions": step.executions,
        "lines": ", ".join(step.where),
        "scopes": ", ".join(step.scopes),
        "flops in all": None if step.flops is None else sum(step.flops.values()),
        "bytes in all": step.read + step.written,
    }
    return _slice(step.name, step.kind, span.thread, span.begin, span.end - span.begin, details)


def _slice(
    name: str, kind: str, thread: int, begin: float, seconds: float, details: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": kind,
        "pid": _PROCESS,
        "tid": thread,
        "ts": begin * 1e6,
        "dur": seconds * 1e6,
        "args": {key: value for key, value in details.items() if value is not None},
    }


def _name(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": _PROCESS, "tid": thread, "args": {"name": name}}
