"""Settings, logging and the process's clock: what the composition root needs from the machine."""

VERSION = "0.3.0"
"""The release, as `--version` says it; `pyproject.toml` holds the same (a test compares)."""
