"""A static-graph compiler for NumPy arrays."""
