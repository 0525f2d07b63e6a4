"""The commands, a module each; `terminal` prints what a search found."""
