"""Kernel code compiled by way of Numba: `gx.compile(..., frontend="numba")`."""
