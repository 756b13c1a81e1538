"""Servers that the tests run against, all on loopback, each a context manager.

A server that cannot start raises; nothing here ever lets a test go on without it.
"""
