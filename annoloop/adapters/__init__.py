"""The edge: one foreign system per file."""
