// openai's client: models, chat completions, completions.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { eventually, startServer } from "./server.mjs";

let server;
let client;
let model;
const chat = (more) => ({
  model,
  messages: [{ role: "system", content: "You are terse." }, { role: "user", content: "Tell me about rivers." }],
  max_completion_tokens: 24,
  seed: 7,
  ...more,
});

before(async () => {
  server = await startServer();
  client = new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: "none", maxRetries: 0 });
  model = (await client.models.list()).data[0].id;
});
after(async () => assert.equal(await server.stop(), 0));

test("models: list and retrieve", async () => {
  const found = await client.models.retrieve(model);
  assert.equal(found.id, model);
  assert.equal(found.object, "model");
  await assert.rejects(client.models.retrieve("nobody"), OpenAI.NotFoundError);
});

test("chat: whole, with usage and a seed that repeats", async () => {
  const one = await client.chat.completions.create(chat());
  assert.equal(one.object, "chat.completion");
  assert.equal(one.choices[0].message.role, "assistant");
  assert.ok(one.choices[0].message.content.length > 0);
  assert.ok(one.usage.prompt_tokens > 5);
  assert.ok(one.usage.completion_tokens <= 24);
  assert.equal(one.usage.total_tokens, one.usage.prompt_tokens + one.usage.completion_tokens);
  assert.ok(one._request_id.startsWith("req_"));
  const again = await client.chat.completions.create(chat());
  assert.equal(again.choices[0].message.content, one.choices[0].message.content);
  assert.ok(again.usage.prompt_tokens_details.cached_tokens > 0);
});

test("chat: a stream is the same text in pieces, with usage at its end", async () => {
  const whole = await client.chat.completions.create(chat());
  const stream = await client.chat.completions.create(
    chat({ stream: true, stream_options: { include_usage: true } }));
  let text = "";
  let reason = null;
  let usage = null;
  let chunks = 0;
  for await (const chunk of stream) {
    ++chunks;
    text += chunk.choices[0]?.delta.content ?? "";
    reason = chunk.choices[0]?.finish_reason ?? reason;
    usage = chunk.usage ?? usage;
  }
  assert.ok(chunks >= 3);  // a draft that is accepted gives many tokens at once
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(reason, whole.choices[0].finish_reason);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("chat: the stream helper collects it", async () => {
  const whole = await client.chat.completions.create(chat());
  const helper = client.chat.completions.stream(chat({ stream_options: { include_usage: true } }));
  assert.equal(await helper.finalContent(), whole.choices[0].message.content);
  assert.equal((await helper.totalUsage()).completion_tokens, whole.usage.completion_tokens);
});

test("chat: n answers at once, whole and streamed", async () => {
  const many = await client.chat.completions.create(chat({ n: 8, max_completion_tokens: 8 }));
  assert.deepEqual(many.choices.map((choice) => choice.index), [0, 1, 2, 3, 4, 5, 6, 7]);
  const texts = Array(8).fill("");
  const stream = await client.chat.completions.create(chat({ n: 8, max_completion_tokens: 8, stream: true }));
  for await (const chunk of stream) {
    for (const choice of chunk.choices) texts[choice.index] += choice.delta.content ?? "";
  }
  assert.deepEqual(texts, many.choices.map((choice) => choice.message.content));
  await assert.rejects(client.chat.completions.create(chat({ n: 9 })),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "n");
});

test("chat: logprobs add up to the text, the best first", async () => {
  const answer = await client.chat.completions.create(chat({ logprobs: true, top_logprobs: 5, temperature: 0 }));
  const tokens = answer.choices[0].logprobs.content;
  assert.equal(tokens.length, answer.usage.completion_tokens);
  const bytes = Buffer.from(tokens.flatMap((token) => token.bytes)).toString();
  assert.ok(bytes.startsWith(answer.choices[0].message.content));
  for (const token of tokens) {
    assert.ok(token.logprob <= 0);
    assert.equal(token.top_logprobs.length, 5);
    assert.equal(token.top_logprobs[0].logprob, token.logprob, "greedy takes the best");
  }
  let streamed = 0;
  for await (const chunk of await client.chat.completions.create(
    chat({ logprobs: true, top_logprobs: 5, temperature: 0, stream: true }))) {
    streamed += chunk.choices[0]?.logprobs?.content.length ?? 0;
  }
  assert.equal(streamed, tokens.length);
});

test("chat: stop strings that cross the borders of tokens", async () => {
  const greedy = chat({ temperature: 0, max_completion_tokens: 48, ignore_eos: true });
  const whole = (await client.chat.completions.create(greedy)).choices[0].message.content;
  assert.ok(whole.length > 30, whole);
  for (let at = 8; at < 20; ++at) {
    const stop = whole.slice(at, at + 6);
    const wanted = whole.slice(0, whole.indexOf(stop));
    const cut = await client.chat.completions.create({ ...greedy, stop: ["\u0001no", stop, "\u0002no", "\u0003no"] });
    assert.equal(cut.choices[0].message.content, wanted);
    assert.equal(cut.choices[0].finish_reason, "stop");
  }
  await assert.rejects(client.chat.completions.create({ ...greedy, stop: ["a", "b", "c", "d", "e"] }),
    (error) => error.status === 400 && error.param === "stop");
});

test("chat: logit_bias bans and forces tokens", async () => {
  const greedy = chat({ temperature: 0, max_completion_tokens: 4, ignore_eos: true, logprobs: true });
  const plain = await client.chat.completions.create(greedy);
  const first = plain.choices[0].logprobs.content[0].token;
  const { tokens } = await (await fetch(`${server.origin}/tokenize`,
    { method: "POST", body: JSON.stringify({ content: first, add_special: false }) })).json();
  assert.equal(tokens.length, 1, first);
  const banned = await client.chat.completions.create({ ...greedy, logit_bias: { [tokens[0]]: -100 } });
  assert.notEqual(banned.choices[0].logprobs.content[0].token, first);
  const forced = await client.chat.completions.create({ ...greedy, logit_bias: { [tokens[0]]: 100 } });
  assert.deepEqual(forced.choices[0].logprobs.content.map((token) => token.token), Array(4).fill(first));
  await assert.rejects(client.chat.completions.create({ ...greedy, logit_bias: { 99999999: 1 } }),
    OpenAI.BadRequestError);
});

test("completions: strings, token arrays, echo with logprobs, streams", async () => {
  const common = { model, max_tokens: 8, temperature: 0, ignore_eos: true };
  const prompt = "Once upon a time";
  const text = await client.completions.create({ ...common, prompt });
  assert.equal(text.object, "text_completion");
  const { tokens } = await (await fetch(`${server.origin}/tokenize`,
    { method: "POST", body: JSON.stringify({ content: prompt }) })).json();
  const ids = await client.completions.create({ ...common, prompt: tokens });
  assert.equal(ids.choices[0].text, text.choices[0].text);
  const two = await client.completions.create({ ...common, prompt: [prompt, "Rivers"], n: 2 });
  assert.equal(two.choices.length, 4);
  assert.equal(two.choices[0].text, text.choices[0].text);

  const echo = await client.completions.create({ ...common, prompt, echo: true, logprobs: 2 });
  assert.equal(echo.choices[0].text, prompt + text.choices[0].text);
  const scores = echo.choices[0].logprobs;
  assert.equal(scores.tokens.length, tokens.length + 8);
  assert.equal(scores.token_logprobs[0], null);
  assert.ok(scores.token_logprobs.slice(1).every((value) => value < 0));
  assert.equal(scores.text_offset[tokens.length], prompt.length);
  const only = await client.completions.create({ ...common, prompt, echo: true, logprobs: 2, max_tokens: 0 });
  assert.deepEqual(only.choices[0].logprobs.token_logprobs, scores.token_logprobs.slice(0, tokens.length));
  assert.equal(only.choices[0].text, prompt);

  let streamed = "";
  for await (const chunk of await client.completions.create({ ...common, prompt, echo: true, stream: true })) {
    streamed += chunk.choices[0]?.text ?? "";
  }
  assert.equal(streamed, prompt + text.choices[0].text);
  await assert.rejects(client.completions.create({ ...common, prompt, suffix: "the end" }),
    (error) => error.status === 400 && error.param === "suffix");
});

test("an aborted stream and an aborted request end on the server, too", async () => {
  const cancelled = () => server.requests().filter((line) => line.end === "cancelled").length;
  const long = chat({ max_completion_tokens: 100_000, ignore_eos: true });
  const stream = await client.chat.completions.create({ ...long, stream: true });
  let seen = 0;
  for await (const chunk of stream) {
    if (++seen === 3) stream.controller.abort();
    assert.ok(chunk.id);
  }
  await eventually(() => cancelled() === 1, "the stream's end");
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 200);
  await assert.rejects(client.chat.completions.create(long, { signal: controller.signal }),
    OpenAI.APIUserAbortError);
  await eventually(() => cancelled() === 2, "the request's end");
  await assert.rejects(client.chat.completions.create(long, { timeout: 200 }), OpenAI.APIConnectionTimeoutError);
  await eventually(() => cancelled() === 3, "the end of the one that took too long");
});
