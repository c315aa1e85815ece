"""Figures for Prometheus: counted as things happen, read when they are scraped. Only `wiring` imports it, when it is on."""
