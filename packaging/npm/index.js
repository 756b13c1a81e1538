"use strict";

// Name by name, so that `import { KeyLost }` finds them.
const {
  JournalError,
  NoKey,
  KeyNotFound,
  KeyLost,
  KeyDisabled,
  KeyInvalid,
  TokenInvalid,
  NotUtf8,
  NotItem,
  StoreUnavailable,
  StoreDenied,
  NotConfigured,
  BadArgument,
  OutOfScope,
  Replicated,
  errorOf,
} = require("./errors.js");
const { getLoadablePath, getSqlPath, load } = require("./load.js");
const { scope } = require("./scope.js");
const { Sealer } = require("./sealer.js");

module.exports = {
  getLoadablePath,
  getSqlPath,
  load,
  scope,
  Sealer,
  JournalError,
  NoKey,
  KeyNotFound,
  KeyLost,
  KeyDisabled,
  KeyInvalid,
  TokenInvalid,
  NotUtf8,
  NotItem,
  StoreUnavailable,
  StoreDenied,
  NotConfigured,
  BadArgument,
  OutOfScope,
  Replicated,
  errorOf,
};
