// Prints the rows of Parquet files as a JSON list: node read.mjs FILE...
import { readFileSync } from "node:fs";
import { tableFromIPC, Vector } from "apache-arrow";
import { readParquet } from "parquet-wasm";

function plain(value) {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (value instanceof Vector) return [...value].map(plain);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value.toJSON()).map(([name, part]) => [name, plain(part)]));
  }
  return value;
}

const rows = process.argv.slice(2).flatMap((file) => {
  const table = tableFromIPC(readParquet(readFileSync(file)).intoIPCStream());
  return table.toArray().map(plain);
});
process.stdout.write(JSON.stringify(rows));
