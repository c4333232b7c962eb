// openai's client on /v1/vector_stores: a store is made, filled with texts, searched, asked about and deleted.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { startServer } from "./server.mjs";

let folder;
let server;
let client;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-stores-"));
  server = await startServer(["--store-dir", folder]);
  client = new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: "none", maxRetries: 0 });
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  assert.equal(await server?.stop(), 0);
});

test("from its creation to its end", async () => {
  const store = await client.vectorStores.create({ name: "cities" });
  assert.equal(store.status, "completed");
  // Files are not uploaded: a document's text stands beside its id.
  const texts = { kelmora: "Kelmora is a port. Its mayor is Anna Vell.", trask: "Trask lies inland, far from the sea." };
  for (const [file_id, text] of Object.entries(texts)) {
    const file = await client.vectorStores.files.create(store.id, { file_id, text, title: file_id });
    assert.equal(file.status, "completed");
  }
  const ids = [];
  for await (const file of client.vectorStores.files.list(store.id)) ids.push(file.id);
  assert.deepEqual(ids.sort(), ["kelmora", "trask"]);
  const found = await client.vectorStores.search(store.id, { query: "Who is the mayor of Kelmora?", max_num_results: 1 });
  assert.equal(found.data[0].file_id, "kelmora");
  assert.match(found.data[0].content[0].text, /Anna Vell/);
  const model = (await client.models.list()).data[0].id;
  const answer = await client.chat.completions.create({ model, max_completion_tokens: 16, millrace: { store: "cities" },
    messages: [{ role: "user", content: "Who is the mayor of Kelmora?" }] });
  assert.ok(answer.usage.millrace.reduction.kept.some((kept) => kept.id === "kelmora"));
  await client.vectorStores.files.delete("trask", { vector_store_id: store.id });
  assert.equal((await client.vectorStores.retrieve(store.id)).file_counts.total, 1);
  assert.equal((await client.vectorStores.delete(store.id)).deleted, true);
  await assert.rejects(client.vectorStores.retrieve(store.id), OpenAI.NotFoundError);
});

test("refusals name the field", async () => {
  await assert.rejects(client.vectorStores.create({ name: "no/path" }), (error) => error.status === 400 && error.param === "name");
  await assert.rejects(client.vectorStores.create({ name: "x", metadata: { a: "b" } }),
    (error) => error.status === 400 && error.param === "metadata");
});
