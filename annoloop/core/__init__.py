"""Pure arithmetic: arrays and records in, records out."""
