"""What the functions answer: scripts of the sqlite3 shell, items, Fernet's other readers, the replication guard, operating."""
