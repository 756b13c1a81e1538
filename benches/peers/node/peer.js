// npm's package fernet. See ../peers.py for what it reads and answers.
"use strict";
const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const fernet = require("fernet");

const lines = readFileSync(process.argv[2], "utf8").trimEnd().split("\n");
const rows = lines.map((line) => line.split("\t")).map(([key, token, text]) => [new fernet.Secret(key), token, text]);

const ways = {
  decrypt: ([secret, token]) => new fernet.Token({ secret, token, ttl: 0 }).decode(),
  encrypt: ([secret, , text]) => new fernet.Token({ secret }).encode(text),
};

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const [way, times] = line.split(" ");
    for (let turn = 0; turn < Number(times); turn++) ways[way](rows[turn % rows.length]);
    console.log();
  }
}

main();
