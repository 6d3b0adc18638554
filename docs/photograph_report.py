"""Takes the picture of a report that the documentation shows.  Needs Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import graphc as gx

PICTURES = Path(__file__).resolve().parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1440, 860
# Nothing but the page itself may be loaded or written.
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")


def lenet_step() -> gx.Program:
    """Compile a step of training LeNet."""
    rng = np.random.default_rng(0)
    model = gx.nn.Sequential(
        gx.nn.Conv2d(1, 6, 5, padding=2, activation=gx.relu, seed=rng),
        gx.nn.MaxPool2d(2),
        gx.nn.Conv2d(6, 16, 5, activation=gx.relu, seed=rng),
        gx.nn.MaxPool2d(2),
        gx.nn.Flatten(),
        gx.nn.Dense(400, 120, activation=gx.relu, seed=rng),
        gx.nn.Dense(120, 10, seed=rng),
    )
    x = gx.placeholder("x", shape=("batch", 1, 28, 28))
    y = gx.placeholder("y", shape=("batch",), dtype="int64")
    loss = gx.nn.softmax_cross_entropy(model(x), y).mean()
    return gx.compile([x, y], loss, updates=gx.optim.Adam(1e-3).minimize(loss), name="lenet")


def photograph(report: Path, place: str, picture: Path) -> None:
    """Open a report at a place and write what is to be seen as a PNG file."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is installed")
    with tempfile.TemporaryDirectory() as profile:
        size = f"--window-size={WIDTH},{HEIGHT}"
        # Headless Chromium counts its own bars as part of the window.
        options = [*FLAGS, size, f"--user-data-dir={profile}", "--virtual-time-budget=4000"]
        address = f"{report.resolve().as_uri()}#{place}"
        command = [browser, *options, f"--screenshot={picture.resolve()}", address]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main(folder: Path = PICTURES) -> None:
    """Write every picture."""
    program = lenet_step()
    fused = next(k for k, stage in enumerate(program.stages) if stage.name == "fuse")
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.html"
        program.report(report)
        photograph(report, f"tab=stages&stage={fused}&side=after", folder / "report.png")


if __name__ == "__main__":
    main()
