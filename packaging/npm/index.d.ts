/** What loads an extension: a database of better-sqlite3, or one of node:sqlite that was opened with `allowExtension`. */
export interface ExtensionHost {
  loadExtension(path: string): unknown;
  enableLoadExtension?(allow: boolean): void;
}

/** The path of the extension's file for this platform. Throws if the package has none. */
export function getLoadablePath(): string;

/**
 * Loads the extension. With node:sqlite extension loading is on for this one call; afterwards it is off, whatever it
 * was before. What SQLite throws if it refuses the extension names the reason.
 */
export function load(db: ExtensionHost): void;
