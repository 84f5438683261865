// The same table in JavaScript: parquet-wasm reads into tables of Apache Arrow.
//   npm install apache-arrow parquet-wasm
//   node examples/read.mjs features
import { readdirSync, readFileSync } from "node:fs";
import { tableFromIPC } from "apache-arrow";
import { readParquet } from "parquet-wasm";

const folder = process.argv[2];
const read = (file) => tableFromIPC(readParquet(readFileSync(file)).intoIPCStream()).toArray();
const words = read(`${folder}/vocabulary.parquet`).map((row) => row.word);
const rows = readdirSync(`${folder}/click_features`).sort().flatMap((name) =>
  read(`${folder}/click_features/${name}`).flatMap((row) =>
    [...row.word_ids].map((id, place) => ({ image_id: row.image_id, word: words[id], tfidf: row.tfidf.get(place) }))));
process.stdout.write(JSON.stringify(rows));
