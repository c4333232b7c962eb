// openai's client: /v1/responses.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { eventually, startServer } from "./server.mjs";

let server;
let client;
let model;
const ask = (more) => ({
  model, instructions: "You are terse.", input: "Tell me about rivers.", max_output_tokens: 24, seed: 7, ...more });

before(async () => {
  server = await startServer();
  client = new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: "none", maxRetries: 0 });
  model = (await client.models.list()).data[0].id;
});
after(async () => assert.equal(await server.stop(), 0));

test("whole: the chat's answer in another form", async () => {
  const response = await client.responses.create(ask());
  const chat = await client.chat.completions.create({
    model,
    messages: [{ role: "system", content: "You are terse." }, { role: "user", content: "Tell me about rivers." }],
    max_completion_tokens: 24,
    seed: 7,
  });
  assert.equal(response.object, "response");
  assert.equal(response.output_text, chat.choices[0].message.content);
  assert.equal(response.output[0].content[0].type, "output_text");
  assert.equal(response.instructions, "You are terse.");
  assert.equal(response.usage.input_tokens, chat.usage.prompt_tokens);
  assert.equal(response.usage.output_tokens, chat.usage.completion_tokens);
  const cut = chat.choices[0].finish_reason === "length";
  assert.equal(response.status, cut ? "incomplete" : "completed");
  assert.equal(response.incomplete_details?.reason ?? null, cut ? "max_output_tokens" : null);
  const items = await client.responses.create(ask({
    instructions: undefined,
    input: [
      { role: "developer", content: "You are terse." },
      { type: "message", role: "user", content: [{ type: "input_text", text: "Tell me about rivers." }] },
    ],
  }));
  assert.equal(items.output_text, response.output_text);
});

test("a conversation goes on with the output items given back", async () => {
  const first = await client.responses.create(ask());
  const second = await client.responses.create(ask({
    input: [{ role: "user", content: "Tell me about rivers." }, ...first.output, { role: "user", content: "And lakes?" }],
  }));
  assert.ok(second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens);
  assert.ok(second.usage.input_tokens_details.cached_tokens > 0);
});

test("streamed: the events that the client expects, in order", async () => {
  const whole = await client.responses.create(ask());
  const types = [];
  let text = "";
  let last = -1;
  let final = null;
  for await (const event of await client.responses.create(ask({ stream: true }))) {
    if (types.at(-1) !== event.type) types.push(event.type);
    assert.equal(event.sequence_number, ++last);
    if (event.type === "response.output_text.delta") text += event.delta;
    if (event.type === "response.output_text.done") assert.equal(event.text, text);
    final = event.response ?? final;
  }
  assert.deepEqual(types, ["response.created", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "response.output_text.delta", "response.output_text.done",
    "response.content_part.done", "response.output_item.done", `response.${whole.status}`]);
  assert.equal(text, whole.output_text);
  assert.deepEqual(final.output[0].content, whole.output[0].content);
  assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  const helper = client.responses.stream(ask());
  assert.equal((await helper.finalResponse()).output_text, whole.output_text);
});

test("logprobs where they are included", async () => {
  const response = await client.responses.create(ask({ include: ["message.output_text.logprobs"], top_logprobs: 3 }));
  const { logprobs } = response.output[0].content[0];
  assert.equal(logprobs.length, response.usage.output_tokens);
  assert.equal(logprobs[0].top_logprobs.length, 3);
});

test("errors name the field", async () => {
  const refused = async (more, param) => await assert.rejects(client.responses.create(ask(more)), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.equal(error.param, param);
    return true;
  });
  await refused({ input: undefined }, "input");
  await refused({ input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }, "input[0].content[0]");
  await refused({ previous_response_id: "resp_1" }, "previous_response_id");
  await refused({ background: true }, "background");
  await refused({ truncation: "auto" }, "truncation");
  await refused({ max_output_tokens: 0 }, "max_output_tokens");
  await refused({ tools: [{ type: "web_search" }] }, "tools[0]");
  await refused({ temperature: -1 }, "temperature");
  await assert.rejects(client.responses.create(ask({ model: "nobody" })), OpenAI.NotFoundError);
});

test("an aborted stream ends on the server, too", async () => {
  const stream = await client.responses.create(ask({ max_output_tokens: 100_000, ignore_eos: true, stream: true }));
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") stream.controller.abort();
  }
  await eventually(() => server.requests().some((line) => line.end === "cancelled"), "the end");
});
