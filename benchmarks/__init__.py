"""What graphc is worth, measured: training steps against other frameworks, and the compiler's own speed."""
