// The routes that no client has a method for, and the document that lists them all.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, metric, startServer } from "./server.mjs";

const key = "sk-test-key";
let server;
const get = async (path, headers = { authorization: `Bearer ${key}` }) =>
  await fetch(`${server.origin}${path}`, { headers });
const post = async (path, body) => await fetch(`${server.origin}${path}`, {
  method: "POST", headers: { "x-api-key": key }, body: JSON.stringify(body) });

before(async () => {
  server = await startServer(["--api-key", key, "--cors-origin", "https://app.example"]);
});
after(async () => assert.equal(await server.stop(), 0));

test("health is open, everything else wants the key", async () => {
  assert.equal((await get("/health/live", {})).status, 200);
  assert.equal((await (await get("/health/ready", {})).json()).status, "ready");
  assert.equal((await get("/", {})).status, 200); // the dashboard's page, which asks for the key
  for (const path of ["/version", "/metrics", "/v1/models", "/openapi.json"]) {
    assert.equal((await get(path, {})).status, 401, path);
    assert.equal((await get(path)).status, 200, path);
  }
  assert.ok((await (await get("/version")).json()).version);
});

test("tokenize and detokenize are each other's reverse", async () => {
  const content = "Rivers flow, \u{1f30a} und Bäche auch.";
  const { tokens, count } = await (await post("/tokenize", { content, add_special: false })).json();
  assert.equal(tokens.length, count);
  assert.equal((await (await post("/detokenize", { tokens })).json()).content, content);
  assert.equal((await post("/tokenize", {})).status, 400);
  assert.equal((await post("/detokenize", { tokens: [-1] })).status, 400);
});

test("metrics count what was answered", async () => {
  const name = "millrace:generation_tokens_total";
  const before = await metric(server, name, key);
  const answer = await (await post("/v1/completions", { prompt: "Once", max_tokens: 5, ignore_eos: true })).json();
  assert.equal(answer.usage.completion_tokens, 5);
  assert.equal(await metric(server, name, key), before + 5);
});

test("the document lists the routes there are, and the fields that are taken", async () => {
  const document = await (await get("/openapi.json")).json();
  assert.match(document.openapi, /^3\.1/);
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of Object.keys(methods)) {
      const response = await fetch(`${server.origin}${path.replace("{id}", "x")}`,
        { method: method.toUpperCase(), headers: { "x-api-key": key }, ...(method === "post" ? { body: "{}" } : {}) });
      assert.notEqual(response.status, 405, `${method} ${path}`);
      assert.ok(response.status < 500, `${method} ${path}: ${response.status}`);
      await response.body?.cancel();  // one is a stream without an end
    }
  }
  const { properties } = document.components.schemas.ChatRequest;
  assert.equal(properties.n.maximum, 8);
  assert.equal((await post("/v1/chat/completions", {
    messages: [{ role: "user", content: "x" }], n: properties.n.maximum + 1 })).status, 400);
});

test("a page of the named origin may read, another may not", async () => {
  const allowed = async (origin) =>
    (await get("/v1/models", { authorization: `Bearer ${key}`, origin })).headers.get("access-control-allow-origin");
  assert.equal(await allowed("https://app.example"), "https://app.example");
  assert.equal(await allowed("https://evil.example"), null);
});

test("the log names the request, the key and the caller's trace", async () => {
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const response = await get("/v1/models", {
    authorization: `Bearer ${key}`, traceparent: `00-${trace}-00f067aa0ba902b7-01` });
  await response.text();
  const id = response.headers.get("x-request-id");
  const line = await eventually(() => server.requests().find((one) => one.id === id), "the log line");
  assert.equal(line.trace_id, trace);
  assert.match(line.key, /^key-[0-9a-f]{12}$/);
  assert.ok(!server.log().includes(key));
});
