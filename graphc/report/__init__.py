"""The report: one HTML file in which a person sees what the compiler did to a program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from graphc.replacing import replacing
from graphc.report.data import packed
from graphc.report.measured import measured_data
from graphc.report.writer import page

if TYPE_CHECKING:
    from graphc.inspection.profile import Profile
    from graphc.runtime.program import Program

__all__ = ["write_report"]


def write_report(program: Program, path: str | os.PathLike[str], profile: Profile | None = None) -> None:
    """Write a page that shows what was compiled: stages, gradients, kernels, memory and measurements.

    One HTML file that any browser opens from disk; it loads nothing else.  `Program.report` calls this.

    Parameters
    ----------
    program : Program
        A program that was compiled in this process.
    path : path-like
        File to write.  It appears when it is complete, or not at all.
    profile : Profile, optional
        What `Program.profile` returned: the page then shows where the time goes, and what the machine
        could do.

    Raises
    ------
    ArgumentError
        If the profile is that of another program.
    MissingDependencyError
        Without the packages of the extra ``report``.

    Examples
    --------
    >>> import graphc as gx, pathlib, tempfile
    >>> x = gx.placeholder("x", shape=("n",))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(gx.compile(x, gx.exp(-x), name="decay"), path)
    >>> "<title>decay</title>" in path.read_text(encoding="utf-8")
    True
    """
    measured = None if profile is None else measured_data(program, profile)
    text = page(program.name, packed(program, measured))
    with replacing(path) as file:
        file.write(text.encode())
