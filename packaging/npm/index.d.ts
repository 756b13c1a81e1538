/** What loads an extension: a database of better-sqlite3, or one of node:sqlite that was opened with `allowExtension`. */
export interface ExtensionHost {
  loadExtension(path: string): unknown;
  enableLoadExtension?(allow: boolean): void;
}

/** The path of the extension's file for this platform. Throws if the package has none. */
export function getLoadablePath(): string;

/**
 * The path of a script of this package, to run in a database or in the sqlite3 shell: `schema.sql`, or a recipe such as
 * `audit.sql`, whose head says what it needs. Throws where there is no script of this name.
 */
export function getSqlPath(name?: string): string;

/**
 * Loads the extension. With node:sqlite extension loading is on for this one call; afterwards it is off, whatever it
 * was before. What SQLite throws if it refuses the extension names the reason.
 */
export function load(db: ExtensionHost): void;

/** A database of better-sqlite3 or of node:sqlite. */
export interface Preparer {
  prepare(sql: string): { get(...parameters: any[]): unknown };
}

/**
 * What `body` gives. While it runs the database uses this user's keys alone; any other user is `out_of_scope`. The scope
 * ends whatever happens. Scopes nest, also for another user. `body` must not give a promise: other code would run under
 * its scope.
 */
export function scope<T>(db: Preparer, userId: number | bigint | string, body: () => T): T;

/** A key row: an object with these columns, or an array that begins so. Rows whose `uid` is null are passed over. */
export type KeyRow =
  | { uid: string | null; created_at: number | Date | null; key: string | null }
  | readonly [uid: string | null, created_at: number | Date | null, key: string | null, ...more: unknown[]];

/** A token and the key that it is under. Where `keyUid` is null, all keys of the rows are tried. */
export type Sealed =
  | { keyUid: string | null; token: string | Uint8Array | null }
  | readonly [keyUid: string | null, token: string | Uint8Array | null];

export interface SealedToken {
  keyUid: string;
  token: string;
}

/** A key whose object is written, and whose rows are not yet. */
export interface NewKey {
  readonly uid: string;
  /** The row of `s3_files`. */
  readonly fileRow: Record<string, string | number>;
  /** The row of `user_journal_master_keys`, but for `s3_file_id`, which the database gives. */
  readonly keyRow: Record<string, unknown>;
  /**
   * Two INSERTs, to run in this order in one transaction. Each changes no row where another key was faster; the second
   * changes one exactly where this key's row is there afterwards, so that it may be sent again.
   */
  readonly statements: [[sql: string, parameters: unknown[]], [sql: string, parameters: unknown[]]];
}

/**
 * Seals and opens with the key rows that a call is given, and with the key store of this process's environment. A call
 * that would wait for the key store does so in a worker; the event loop goes on. A key whose row is not among those given
 * cannot be used, however warm the cache.
 */
export class Sealer {
  /** The key rows of one user. The one parameter is the user, of whatever type the column has. */
  static readonly KEYS_SQL: string;
  /** `workers`: how many threads may wait for the key store. */
  constructor(options?: { driver?: "node:sqlite" | "better-sqlite3"; workers?: number });
  /** The plaintext under the newest key of `rows`. */
  seal(rows: Iterable<KeyRow>, plaintext: string | Uint8Array): Promise<SealedToken>;
  /** The JSON of `value`, compressed, under the newest key of `rows`. */
  sealItem(rows: Iterable<KeyRow>, value: unknown): Promise<SealedToken>;
  /** The texts; null for what is lost or does not open, `check` says which. Rejects for an outage. */
  open(rows: Iterable<KeyRow>, sealed: Iterable<Sealed>): Promise<(string | null)[]>;
  /** The values of items; null as for `open`. Rejects for an outage. */
  openItems(rows: Iterable<KeyRow>, sealed: Iterable<Sealed>): Promise<unknown[]>;
  /** `ok`, or the error word of what `open` would meet, for each. */
  check(rows: Iterable<KeyRow>, sealed: Iterable<Sealed>): Promise<(string | null)[]>;
  /** Whether a call with these keys, by default all of `rows`, would answer without waiting for the key store. */
  isWarm(rows: Iterable<KeyRow>, keyUids?: Iterable<string | null>): boolean;
  /** Drops a key from this process's cache: its object is gone. Whether it was there. */
  evict(keyUid: string): boolean;
  /**
   * Writes the object of a new key, and gives the two rows and the two INSERTs that make it the user's: only if the user
   * has no key by then or, with `maxAge`, none that is younger, in seconds. Needs JOURNAL_ADMIN=create.
   */
  newKey(userId: unknown, rows?: Iterable<KeyRow>, options?: { maxAge?: number | null }): Promise<NewKey>;
  /** Deletes the object of a new key whose INSERT changed no row. `rows` are the user's key rows as they are now. */
  discard(newKey: NewKey, rows?: Iterable<KeyRow>): Promise<void>;
  /** Ends the workers and closes the database. */
  close(): Promise<void>;
}

/** What the extension raised. Its text never holds a plaintext, a token or a key. */
export class JournalError extends Error {
  static readonly word?: string;
  /** The error word; undefined where SQLite itself failed. */
  readonly word?: string;
}
/** What a driver raised, by its message: one of the classes below, which has the word; a `JournalError` without one for others. */
export function errorOf(message: string): JournalError;
export class NoKey extends JournalError {}
export class KeyNotFound extends JournalError {}
export class KeyLost extends JournalError {}
export class KeyDisabled extends JournalError {}
export class KeyInvalid extends JournalError {}
export class TokenInvalid extends JournalError {}
export class NotUtf8 extends JournalError {}
export class NotItem extends JournalError {}
export class StoreUnavailable extends JournalError {}
export class StoreDenied extends JournalError {}
export class NotConfigured extends JournalError {}
export class BadArgument extends JournalError {}
export class OutOfScope extends JournalError {}
export class Replicated extends JournalError {}
