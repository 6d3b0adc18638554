"""Artifacts: compiled programs in one file; `docs/artifact-format.md` specifies it.

Nothing is imported here: reading a file needs neither the compiler nor the ops.
"""
