"""What nobody may break: prepared databases, secrets in memory, thousands of connections, load, soak, memory checkers."""
