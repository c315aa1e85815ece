"""Measurements: how fast, how large. Nothing here is a test."""
