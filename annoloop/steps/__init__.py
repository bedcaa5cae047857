"""The shell: one verb per file; read, decide, write."""
