"""Telegram and MAX on the own machine: wire-level simulators of their bot APIs and a page to drive them.

Stands alone: it imports nothing of the service, which meets it only over HTTP.
"""
