/* An SQLite of another version for the Rust host's tests: `make test-sqlites`. The amalgamation is that of Go's driver. */
#include "sqlite3-binding.c"

/* What rusqlite asks for and the oldest lacks. */
#if SQLITE_VERSION_NUMBER < 3037000
sqlite3_int64 sqlite3_changes64(sqlite3 *db) { return sqlite3_changes(db); }
#endif
#if SQLITE_VERSION_NUMBER < 3038000
int sqlite3_error_offset(sqlite3 *db) { (void)db; return -1; }
#endif
