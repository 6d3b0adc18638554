"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

__all__ = ["facts", "limit_threads", "usable_cpus"]


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Bind this process and its children to `count` CPUs: the one limit that all frameworks respect.

    Raises
    ------
    ValueError
        If there are not so many, or the operating system cannot bind a process.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError(f"{platform.system()} cannot bind a process to CPUs")
    usable = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(usable):
        raise ValueError(f"{count} threads on {len(usable)} usable CPUs")
    os.sched_setaffinity(0, usable[:count])


def facts() -> dict[str, str]:
    """Return the machine, its Python, and how busy the machine was at the start."""
    found = {
        "cpu": _cpu(),
        "cpus used": f"{usable_cpus()} of {os.cpu_count()}",
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
    }
    if hasattr(os, "getloadavg"):
        found["load before"] = f"{os.getloadavg()[0]:.2f}"
    return found


def _cpu() -> str:
    # platform.processor() is empty or generic on Linux.
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
