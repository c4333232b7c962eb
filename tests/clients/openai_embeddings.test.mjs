// openai's client on /v1/embeddings, which asks for base64 unless told otherwise, and /v1/rerank: tiny
// random berts, written as Hugging Face folders and converted by `millrace quantize`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { OpenAIEmbeddings } from "@langchain/openai";
import { embed as embedOne, embedMany } from "ai";
import OpenAI from "openai";
import { startServer } from "./server.mjs";

const width = 32, inner = 64, positions = 64;
const letters = "abcdefghijklmnopqrstuvwxyz".split("");
const tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ...letters, ...letters.map((c) => `##${c}`)];

function writeModel(folder, { ranks = false } = {}) {
  const layer = "encoder.layer.0.";
  const matrices = {
    "embeddings.word_embeddings.weight": [tokens.length, width],
    "embeddings.position_embeddings.weight": [positions, width],
    "embeddings.token_type_embeddings.weight": [2, width],
    [`${layer}attention.self.query.weight`]: [width, width],
    [`${layer}attention.self.key.weight`]: [width, width],
    [`${layer}attention.self.value.weight`]: [width, width],
    [`${layer}attention.output.dense.weight`]: [width, width],
    [`${layer}intermediate.dense.weight`]: [inner, width],
    [`${layer}output.dense.weight`]: [width, inner],
  };
  if (ranks) Object.assign(matrices, { "pooler.dense.weight": [width, width], "classifier.weight": [1, width] });
  const vectors = ["embeddings.LayerNorm", `${layer}attention.output.LayerNorm`, `${layer}output.LayerNorm`]
    .flatMap((name) => [[`${name}.weight`, 1], [`${name}.bias`, 0]]);
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;
  const header = {}, parts = [];
  let offset = 0;
  const add = (name, shape, make) => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, make);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, (offset += values.byteLength)] };
    parts.push(Buffer.from(values.buffer));
  };
  for (const [name, shape] of Object.entries(matrices)) add(name, shape, random);
  for (const [name, value] of vectors) add(name, [width], () => value);
  if (ranks) add("pooler.dense.bias", [width], () => 0), add("classifier.bias", [1], () => 0);
  const text = Buffer.from(JSON.stringify(header)), length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  mkdirSync(folder);
  const write = (name, json) => writeFileSync(join(folder, name), JSON.stringify(json));
  writeFileSync(join(folder, "model.safetensors"), Buffer.concat([length, text, ...parts]));
  write("config.json", { model_type: "bert", hidden_size: width, num_hidden_layers: 1, num_attention_heads: 4,
    intermediate_size: inner, max_position_embeddings: positions, hidden_act: "gelu" });
  write("tokenizer.json", {
    normalizer: { type: "BertNormalizer", lowercase: true, strip_accents: null },
    added_tokens: tokens.slice(0, 4).map((content, id) => ({ id, content, special: true })),
    model: { type: "WordPiece", unk_token: "[UNK]", vocab: Object.fromEntries(tokens.map((t, i) => [t, i])) },
  });
}

let folder;
let server;
let client;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-embeddings-"));
  writeModel(join(folder, "bert"));
  execFileSync(process.env.MILLRACE_BINARY, ["quantize", join(folder, "bert"), join(folder, "tiny.gguf"), "F32"]);
  writeModel(join(folder, "ranker"), { ranks: true });
  execFileSync(process.env.MILLRACE_BINARY, ["quantize", join(folder, "ranker"), join(folder, "rank.gguf"), "F32"]);
  server = await startServer(
    ["--embedding-model", join(folder, "tiny.gguf"), "--rerank-model", join(folder, "rank.gguf")]);
  client = new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: "none", maxRetries: 0 });
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  assert.equal(await server?.stop(), 0);
});

const embed = async (input, more = {}) => (await client.embeddings.create({ model: "tiny", input, ...more })).data;
const near = (a, b) => a.length === b.length && a.every((x, i) => Math.abs(x - b[i]) < 1e-6);

test("the client's base64 and plain floats are the same vectors, of length 1", async () => {
  const input = ["a mill race", "Water, and a wheel"];
  const decoded = await embed(input);
  const floats = await embed(input, { encoding_format: "float" });
  assert.equal(decoded.length, 2);
  for (const [i, { embedding, index }] of decoded.entries()) {
    assert.equal(index, i);
    assert.equal(embedding.length, width);
    assert.ok(near(embedding, floats[i].embedding));
    assert.ok(Math.abs(embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
  }
  assert.ok(!near(decoded[0].embedding, decoded[1].embedding));
});

test("a string, an array of it and its token ids agree, alone and in a batch", async () => {
  const [alone] = await embed("abc");
  const batch = await embed(["water", "abc", "x"]);
  assert.ok(near(batch[1].embedding, alone.embedding));
  const ids = [2, tokens.indexOf("a"), tokens.indexOf("##b"), tokens.indexOf("##c"), 3];
  assert.ok(near((await embed(ids))[0].embedding, alone.embedding));
});

test("dimensions and usage", async () => {
  const response = await client.embeddings.create({ model: "tiny", input: "abc", dimensions: 8 });
  assert.equal(response.data[0].embedding.length, 8);
  assert.deepEqual(response.usage, { prompt_tokens: 5, total_tokens: 5 });
});

test("refusals name the field", async () => {
  await assert.rejects(embed("x ".repeat(100)), (error) => error.status === 400 &&
    error.code === "context_length_exceeded" && error.param === "input" && error.message.includes("at most 64"));
  await assert.rejects(embed([]), { status: 400, param: "input" });
  await assert.rejects(embed("a", { model: "other" }), { status: 404, code: "model_not_found" });
});

test("AI SDK and LangChain get the same vectors, and refusals in their own shapes", async () => {
  const texts = ["a mill race", "water"];
  const expected = (await embed(texts)).map((one) => one.embedding);
  const provider = createOpenAICompatible({ name: "millrace", baseURL: `${server.origin}/v1`, apiKey: "none" });
  const { embeddings } = await embedMany({ model: provider.embeddingModel("tiny"), values: texts, maxRetries: 0 });
  const { embedding } = await embedOne({ model: provider.embeddingModel("tiny"), value: texts[1], maxRetries: 0 });
  assert.ok(near(embeddings[0], expected[0]) && near(embeddings[1], expected[1]) && near(embedding, expected[1]));
  await assert.rejects(embedOne({ model: provider.embeddingModel("other"), value: "x", maxRetries: 0 }),
    (error) => error.statusCode === 404 && /other/.test(error.message));
  const chain = (model) => new OpenAIEmbeddings({ model, apiKey: "none", maxRetries: 0, configuration: { baseURL: `${server.origin}/v1` } });
  const documents = await chain("tiny").embedDocuments(texts);
  assert.ok(near(documents[0], expected[0]) && near(await chain("tiny").embedQuery(texts[1]), expected[1]));
  await assert.rejects(chain("other").embedQuery("x"), (error) => error.status === 404);
});

test("rerank: the documents in the order of their scores", async () => {
  const documents = ["a mill race", "water", "a wheel turns"];
  const rank = async (more) => await fetch(`${server.origin}/v1/rerank`, {
    method: "POST", body: JSON.stringify({ query: "mill", documents, ...more }) });
  const { results } = await (await rank()).json();
  assert.deepEqual(results.map((one) => one.index).sort(), [0, 1, 2]);
  for (let i = 1; i < results.length; ++i) assert.ok(results[i - 1].relevance_score >= results[i].relevance_score);
  const best = await (await rank({ top_n: 1 })).json();
  assert.equal(best.results.length, 1);
  assert.equal(best.results[0].index, results[0].index);
  assert.equal((await rank({ documents: [] })).status, 400);
});
