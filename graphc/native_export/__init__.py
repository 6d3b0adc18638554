"""Programs as shared libraries with a C interface: inference without Python."""
