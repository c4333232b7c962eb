// Anthropic's client: /v1/messages and its count_tokens.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { eventually, startServer } from "./server.mjs";

const key = "sk-test-key";
let server;
let client;
let model;
const ask = (more) => ({
  model,
  max_tokens: 24,
  system: "You are terse.",
  messages: [{ role: "user", content: "Tell me about rivers." }],
  seed: 7,
  ...more,
});
const textOf = (message) => message.content.map((block) => block.text).join("");

before(async () => {
  server = await startServer(["--api-key", key]);
  client = new Anthropic({ baseURL: server.origin, apiKey: key, maxRetries: 0 });
  const models = await fetch(`${server.origin}/v1/models`, { headers: { "x-api-key": key } });
  model = (await models.json()).data[0].id;
});
after(async () => assert.equal(await server.stop(), 0));

test("messages: whole, with usage", async () => {
  const message = await client.messages.create(ask());
  assert.equal(message.type, "message");
  assert.equal(message.role, "assistant");
  assert.equal(message.content[0].type, "text");
  assert.ok(textOf(message).length > 0);
  assert.ok(["max_tokens", "end_turn"].includes(message.stop_reason));
  assert.ok(message.usage.output_tokens > 0);
  assert.ok(message._request_id.startsWith("req_"));
  const again = await client.messages.create(ask());
  assert.equal(textOf(again), textOf(message));
  assert.ok(again.usage.cache_read_input_tokens > 0);
  assert.equal(again.usage.input_tokens + again.usage.cache_read_input_tokens,
    message.usage.input_tokens + message.usage.cache_read_input_tokens);
});

test("messages: the same prompt as a chat has", async () => {
  const message = await client.messages.create(ask({
    system: [{ type: "text", text: "You are terse." }, { type: "text", text: "Be kind." }],
    messages: [{ role: "user", content: [{ type: "text", text: "Tell me" }, { type: "text", text: "about rivers." }] }],
  }));
  const chat = await (await fetch(`${server.origin}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify({
      messages: [{ role: "system", content: "You are terse.\nBe kind." }, { role: "user", content: "Tell me\nabout rivers." }],
      max_tokens: 24,
      seed: 7,
    }),
  })).json();
  assert.equal(textOf(message), chat.choices[0].message.content);
});

test("messages: a stream is the same text in pieces", async () => {
  const whole = await client.messages.create(ask());
  const types = [];
  let text = "";
  for await (const event of await client.messages.create(ask({ stream: true }))) {
    if (types.at(-1) !== event.type) types.push(event.type);
    if (event.type === "content_block_delta") text += event.delta.text;
    if (event.type === "message_delta") assert.equal(event.usage.output_tokens, whole.usage.output_tokens);
  }
  assert.deepEqual(types, ["message_start", "content_block_start", "content_block_delta", "content_block_stop",
    "message_delta", "message_stop"]);
  assert.equal(text, textOf(whole));
  const helper = client.messages.stream(ask());
  let heard = "";
  helper.on("text", (piece) => heard += piece);
  const final = await helper.finalMessage();
  assert.equal(heard, textOf(whole));
  assert.equal(textOf(final), heard);
  assert.equal(final.stop_reason, whole.stop_reason);
});

test("messages: stop_sequences say which one it was", async () => {
  const greedy = ask({ temperature: 0, max_tokens: 48, ignore_eos: true });
  const whole = textOf(await client.messages.create(greedy));
  const stop = whole.slice(10, 15);
  const cut = await client.messages.create({ ...greedy, stop_sequences: ["\u0001no", stop] });
  assert.equal(textOf(cut), whole.slice(0, whole.indexOf(stop)));
  assert.equal(cut.stop_reason, "stop_sequence");
  assert.equal(cut.stop_sequence, stop);
  const streamed = await client.messages.stream({ ...greedy, stop_sequences: [stop] }).finalMessage();
  assert.equal(streamed.stop_sequence, stop);
});

test("messages: a last turn of the assistant is gone on with", async () => {
  const greedy = ask({ temperature: 0, max_tokens: 30, ignore_eos: true });
  const whole = textOf(await client.messages.create(greedy));
  // What the greedy answer begins with, given back, is gone on with as before, in the same tokens or others.
  const rest = await client.messages.create({
    ...greedy, max_tokens: 1, messages: [...greedy.messages, { role: "assistant", content: whole }] });
  const fresh = await client.messages.create({ ...greedy, max_tokens: 1 });
  assert.ok(rest.usage.input_tokens + rest.usage.cache_read_input_tokens >
    fresh.usage.input_tokens + fresh.usage.cache_read_input_tokens + 5);
  assert.ok(!textOf(rest).startsWith(whole));
});

// The demo model answers from what it is shown, and says where it stands.
test("messages: documents and search results are answered from, and cited", async () => {
  const citations = { enabled: true };
  const plain = (title, data) => ({ type: "document", title, citations,
    source: { type: "text", media_type: "text/plain", data } });
  const hioprork = "The price of Hioprork is 726 euros. Hioprork comes in the colour red.";
  const about = (question) => ask({ system: undefined, max_tokens: 40, temperature: 0, messages: [{ role: "user", content: [
    plain("Kelmora", "Kelmora is a city. It is made of stone."),
    plain("Hioprork", hioprork),
    { type: "search_result", source: "https://prices.example/bapeal", title: "Bapeal", citations,
      content: [{ type: "text", text: "Bapeal parses log files." }, { type: "text", text: "The price of Bapeal is 12 euros." }] },
    { type: "text", text: question },
  ] }] });
  const price = await client.messages.create(about("What is the price of Hioprork?"));
  assert.match(textOf(price), /^The price of Hioprork is 726 euros\. \[\d\]/);
  assert.deepEqual(price.content[0].citations, [{ type: "char_location", cited_text: hioprork, document_index: 1,
    document_title: "Hioprork", start_char_index: 0, end_char_index: hioprork.length, file_id: null }]);
  const other = about("What is the price of Bapeal?");
  const whole = await client.messages.create(other);
  const [cited] = whole.content[0].citations;
  assert.equal(cited.type, "search_result_location");
  assert.equal(cited.source, "https://prices.example/bapeal");
  assert.deepEqual([cited.search_result_index, cited.start_block_index, cited.end_block_index], [0, 0, 2]);
  const streamed = await client.messages.stream(other).finalMessage();
  assert.deepEqual(streamed.content, whole.content);
  const { max_tokens, seed, temperature, ...counted } = other;
  const { input_tokens } = await client.messages.countTokens(counted);
  assert.equal(input_tokens, whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
  const pdf = { type: "document", source: { type: "base64", media_type: "application/pdf", data: "JVBERi0=" } };
  await assert.rejects(client.messages.create(ask({ messages: [{ role: "user", content: [pdf] }] })),
    (error) => error.status === 400 && /text only/.test(error.message));
});

test("count_tokens says what messages takes", async () => {
  const { max_tokens: _, seed: __, ...body } = ask();
  const count = await client.messages.countTokens(body);
  const message = await client.messages.create(ask());
  assert.equal(count.input_tokens, message.usage.input_tokens + message.usage.cache_read_input_tokens);
});

test("errors have Anthropic's shape", async () => {
  const refused = (status, type) => (error) => {
    assert.equal(error.status, status);
    assert.equal(error.error.type, "error");
    assert.equal(error.error.error.type, type);
    assert.ok(error.error.error.message.length > 10);
    assert.ok(error.requestID.startsWith("req_"));
    return true;
  };
  await assert.rejects(client.messages.create(ask({ max_tokens: undefined })), refused(400, "invalid_request_error"));
  await assert.rejects(client.messages.create(ask({ temperature: 3 })), refused(400, "invalid_request_error"));
  await assert.rejects(client.messages.create(ask({ messages: [{ role: "system", content: "x" }] })),
    refused(400, "invalid_request_error"));
  const image = { type: "image", source: { type: "url", url: "http://127.0.0.1/x.png" } };
  await assert.rejects(client.messages.create(ask({ messages: [{ role: "user", content: [image] }] })),
    refused(400, "invalid_request_error"));
  await assert.rejects(client.messages.create(ask({ model: "nobody" })), refused(404, "not_found_error"));
  const stranger = new Anthropic({ baseURL: server.origin, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.messages.create(ask()), refused(401, "authentication_error"));
});

test("an aborted stream ends on the server, too", async () => {
  const stream = client.messages.stream(ask({ max_tokens: 100_000, ignore_eos: true }));
  stream.once("text", () => stream.abort());
  await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
  await eventually(() => server.requests().some((line) => line.end === "cancelled"), "the end");
});
