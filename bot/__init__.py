"""The conversation: one messenger-neutral dialog, and one thin skin per messenger."""
