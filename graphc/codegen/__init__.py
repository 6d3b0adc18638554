"""From lowered kernels to Python source text that Numba compiles."""
