"""The extension on real nodes of rqlite: `make test-rqlite`."""
