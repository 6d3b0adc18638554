"""From kernels over index space to Python source text, and the device code it calls."""
