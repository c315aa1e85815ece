"""What people would write or take instead: small, as their own documentation says, and none of the repo's code."""
