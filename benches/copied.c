/* What a scan costs at the least in a host's SQLite: copied(…, x), a function that gives back a copy of its last argument.
** Loaded in the place of the extension, which it loads too: the library that JOURNAL_CRYPT names. */
#include <sqlite3ext.h>
#include <stdlib.h>
SQLITE_EXTENSION_INIT1

static void copied(sqlite3_context *context, int count, sqlite3_value **values) {
  sqlite3_value *last = values[count - 1];
  const char *text = (const char *)sqlite3_value_text(last);
  sqlite3_result_text(context, text, sqlite3_value_bytes(last), SQLITE_TRANSIENT);
}

int sqlite3_extension_init(sqlite3 *db, char **message, const sqlite3_api_routines *routines) {
  SQLITE_EXTENSION_INIT2(routines);
  int result = sqlite3_load_extension(db, getenv("JOURNAL_CRYPT"), 0, message);
  if (result != SQLITE_OK) return result;
  return sqlite3_create_function_v2(db, "copied", -1, SQLITE_UTF8 | SQLITE_DIRECTONLY, 0, copied, 0, 0, 0);
}
