"""The HTTP skin: strict bodies in, the domain's answers and problem details out."""
