"""The only SQL and the only vector files."""
