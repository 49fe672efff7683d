"""The folder that a run leaves: files that are whole or absent, records, provenance."""
