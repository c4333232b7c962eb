// openai's client: what each refusal looks like, and what it tries again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { startServer } from "./server.mjs";

const key = "sk-test-key";
let server;
let client;
const chat = (more) => ({ model: "", messages: [{ role: "user", content: "Hello" }], max_completion_tokens: 8, ...more });
const clientWith = (options) =>
  new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: key, maxRetries: 0, ...options });

before(async () => {
  server = await startServer(["--api-key", key, "--max-requests-per-key", "1"]);
  client = clientWith({});
});
after(async () => assert.equal(await server.stop(), 0));

const refused = (kind, fields) => (error) => {
  assert.ok(error instanceof kind, `${error}`);
  assert.ok(error.message.length > 10);
  assert.ok(error.requestID?.startsWith("req_") ?? fields.noId);
  for (const [name, value] of Object.entries(fields)) {
    if (name !== "noId") assert.equal(error[name], value, name);
  }
  return true;
};

test("400 names the field", async () => {
  await assert.rejects(client.chat.completions.create(chat({ temperature: 3 })),
    refused(OpenAI.BadRequestError, { status: 400, param: "temperature", type: "invalid_request_error" }));
  await assert.rejects(client.chat.completions.create(chat({ messages: [] })),
    refused(OpenAI.BadRequestError, { status: 400, param: "messages" }));
  await assert.rejects(client.chat.completions.create(chat({ messages: [{ role: "user", content: "x ".repeat(200_000) }] })),
    refused(OpenAI.BadRequestError, { status: 400, code: "context_length_exceeded" }));
});

test("401, 404, 405, 413", async () => {
  await assert.rejects(clientWith({ apiKey: "wrong" }).chat.completions.create(chat()),
    refused(OpenAI.AuthenticationError, { status: 401, code: "invalid_api_key" }));
  await assert.rejects(client.chat.completions.create(chat({ model: "nobody" })),
    refused(OpenAI.NotFoundError, { status: 404, code: "model_not_found", param: "model" }));
  await assert.rejects(client.get("/no/such/route"), refused(OpenAI.NotFoundError, { status: 404, noId: true }));
  await assert.rejects(client.get("/chat/completions"), (error) => error.status === 405);
  await assert.rejects(client.chat.completions.create(chat({ user: "x".repeat(9 * 1024 * 1024) })),
    (error) => error.status === 413 && error.code === "request_too_large");
});

test("429 over the key's limit, and the client's retries wait it out", async () => {
  const held = await client.chat.completions.create(
    chat({ max_completion_tokens: 100_000, ignore_eos: true, stream: true }));
  const holder = held[Symbol.asyncIterator]();
  await holder.next();
  await assert.rejects(client.chat.completions.create(chat()),
    refused(OpenAI.RateLimitError, { status: 429, code: "rate_limit_exceeded", type: "rate_limit_error" }));
  const response = await fetch(`${server.origin}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify(chat()),
  });
  assert.equal(response.status, 429);
  assert.ok(Number(response.headers.get("retry-after")) >= 1);
  await response.text();
  const patient = clientWith({ maxRetries: 10 }).chat.completions.create(chat());
  setTimeout(() => held.controller.abort(), 300);
  assert.ok((await patient).choices[0].message.content.length > 0);
  assert.ok(server.requests().filter((line) => line.status === 429).length >= 3);
});
