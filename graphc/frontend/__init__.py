"""From the text of a kernel to LLVM IR: a small compiler for the language that kernels are written in."""
