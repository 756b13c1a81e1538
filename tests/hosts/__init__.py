"""How programs of every language load the extension, and that each gets the same answers."""
