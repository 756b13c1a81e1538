"use strict";

// A thread that may wait for the key store. The cache is the whole process's.

const { parentPort, workerData } = require("node:worker_threads");
const { Connection } = require("./connection.js");

let connection;

parentPort.on("message", ({ id, call }) => {
  const answer = { id };
  try {
    connection ??= new Connection(workerData.driver);
    answer.value = connection.call(...call);
  } catch (error) {
    answer.error = String(error.message);
  }
  try {
    answer.ready = connection?.call("ready", call[1]) ?? [];
  } catch {
    answer.ready = [];
  }
  parentPort.postMessage(answer);
});
