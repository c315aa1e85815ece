"""What can be told of an installation by looking: values seen, and what they mean for the operator.

Imported by `wiring` alone. Each module measures or judges one kind of thing; what measures stands by itself, as the
running service wants the same numbers. Nothing here changes anything, but for a file that is written to time the disk.
"""
