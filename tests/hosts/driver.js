// A Node host: better-sqlite3 or node:sqlite. Arguments: which, database, library. What it answers: tests/hosts/drivers.py.
"use strict";
const { createInterface } = require("node:readline");
const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");

const drivers = {
  "better-sqlite3": {
    open(path, library) {
      const Database = require("better-sqlite3");
      const database = new Database(path);
      database.loadExtension(library);
      return database;
    },
    run(database, sql, parameters) {
      const statement = database.prepare(sql);
      if (statement.reader) return statement.raw().all(...parameters);
      statement.run(...parameters);
      return [];
    },
  },
  "node:sqlite": {
    open(path, library) {
      const { DatabaseSync } = require("node:sqlite");
      const database = new DatabaseSync(path, { allowExtension: true });
      database.loadExtension(library);
      return database;
    },
    run(database, sql, parameters) {
      const statement = database.prepare(sql);
      statement.setReturnArrays(true);
      return statement.all(...parameters);
    },
  },
};

const bound = (value) => (value?.blob === undefined ? value : Buffer.from(value.blob, "hex"));
const plain = (value) => (value instanceof Uint8Array ? { blob: Buffer.from(value).toString("hex") } : value);

/** How many texts come back as they went, in one thread. */
function trips({ which, database, library, sql, times, thread }) {
  const driver = drivers[which];
  const connection = driver.open(database, library);
  let right = 0;
  for (let turn = 0; turn < times; turn++) {
    const text = `thread ${thread} turn ${turn}`;
    right += driver.run(connection, sql, [text])[0][0] === text;
  }
  connection.close();
  return right;
}

/** The same, on a connection for each worker. */
async function inThreads(place, { threads, times, sql }) {
  const workers = Array.from({ length: threads }, (_, thread) => {
    const worker = new Worker(__filename, { workerData: { ...place, sql, times, thread } });
    return new Promise((resolve, reject) => {
      worker.once("message", (right) => worker.once("exit", () => resolve(right))).once("error", reject);
    });
  });
  return (await Promise.all(workers)).reduce((sum, right) => sum + right);
}

async function main([which, database, library]) {
  const driver = drivers[which];
  const connections = {};
  const rows = async ({ on, sql, parameters, close, threads, times }) => {
    if (threads) return [[await inThreads({ which, database, library }, { threads, times, sql })]];
    if (close) {
      connections[on].close();
      delete connections[on];
      return [];
    }
    connections[on] ??= driver.open(database, library);
    return driver.run(connections[on], sql, parameters.map(bound)).map((row) => row.map(plain));
  };
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { rows: await rows(JSON.parse(line)) };
    } catch (error) {
      answer = { error: error.message, code: error.errcode ?? error.code };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}

if (isMainThread) main(process.argv.slice(2));
else parentPort.postMessage(trips(workerData));
