"""Commands that belong to no component of their own."""
