"""Keys that are made, rotated and shredded, on both stores, and wherever the process is killed."""
