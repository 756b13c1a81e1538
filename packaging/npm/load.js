"use strict";

const path = require("node:path");
const fs = require("node:fs");

const SUFFIX = { darwin: "dylib", win32: "dll" }[process.platform] ?? "so";

/** Of the platforms whose library is in this package, the one that Node runs on. */
function platform() {
  const musl = process.platform === "linux" && !process.report.getReport().header.glibcVersionRuntime;
  return `${process.platform}${musl ? "musl" : ""}-${process.arch}`;
}

function getLoadablePath() {
  const file = path.join(__dirname, platform(), `journal_crypt.${SUFFIX}`);
  if (!fs.existsSync(file)) {
    throw new Error(`sqlite-journal-crypt has no library for ${platform()} in this package`);
  }
  return file;
}

function getSqlPath(name = "schema.sql") {
  const folder = path.join(__dirname, "sql");
  const names = fs.readdirSync(folder);
  if (!names.includes(name)) throw new Error(`there is no such script; there are ${names.join(", ")}`);
  return path.join(folder, name);
}

function load(db) {
  // better-sqlite3 loads extensions always, and has no such switch.
  if (typeof db.enableLoadExtension !== "function") {
    db.loadExtension(getLoadablePath());
    return;
  }
  db.enableLoadExtension(true);
  try {
    db.loadExtension(getLoadablePath());
  } finally {
    db.enableLoadExtension(false);
  }
}

module.exports = { getLoadablePath, getSqlPath, load };
