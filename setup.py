"""Lists the packages; everything else about the distribution is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["graphc", "graphc.*"]),
        "graphc.passes",
        *(f"graphc.passes.{name}" for name in find_packages("passes")),
    ],
)
