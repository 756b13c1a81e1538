"""The operator's tool as a person or a program runs it: `journal-crypt`."""
