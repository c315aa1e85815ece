"""Puts the parts together: the only package that knows all the others. `main` and tests import it."""
