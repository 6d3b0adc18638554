"""Pictures, drawn with matplotlib (the extra ``demo``) and without a display."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from graphc.extras import require

__all__ = ["learning_curve"]

_LOSS, _ACCURACY = "tab:orange", "tab:blue"


def learning_curve(
    path: str | os.PathLike[str], losses: Sequence[float], accuracies: Sequence[float], title: str = ""
) -> None:
    """Draw training loss and held-out accuracy by epoch.

    Parameters
    ----------
    path : path-like
        File to write; its suffix chooses the format, for example ``.png`` or ``.svg``.
    losses, accuracies : sequence of float
        One value per epoch, accuracies as shares of one.
    title : str
        Above the picture.

    Raises
    ------
    MissingDependencyError
        Without matplotlib.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "curve.png"
    >>> learning_curve(path, losses=[1.2, 0.4, 0.2], accuracies=[0.7, 0.9, 0.95])
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    # Figure itself, not pyplot: no global state, no display, nothing to close.
    figure = require("matplotlib.figure", extra="demo", purpose="learning_curve").Figure
    picture = figure(figsize=(8, 3.5), layout="constrained")
    left, right = picture.subplots(1, 2)
    epochs = range(1, len(losses) + 1)
    _draw(left, epochs, losses, "training loss", _LOSS)
    left.set_yscale("log")
    _draw(right, epochs, [100 * share for share in accuracies], "held-out accuracy, %", _ACCURACY)
    right.annotate(f"{accuracies[-1]:.2%}", (epochs[-1], 100 * accuracies[-1]), (-4, -14), **_BELOW)
    picture.suptitle(title)
    picture.savefig(path, dpi=120)


_BELOW: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top"}


def _draw(axes: Any, epochs: Sequence[int], values: Sequence[float], label: str, colour: str) -> None:
    axes.plot(epochs, values, color=colour, marker="o", markersize=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
