"""From graph nodes to kernels over index space."""
