// The AI SDK with its provider for servers that speak OpenAI's API.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, streamText } from "ai";
import { eventually, startServer } from "./server.mjs";

const key = "sk-test-key";
let server;
let provider;
let model;
const ask = (more) => ({
  model: provider(model), system: "You are terse.", prompt: "Tell me about rivers.",
  maxOutputTokens: 24, seed: 7, maxRetries: 0, ...more });

before(async () => {
  server = await startServer(["--api-key", key, "--max-requests-per-key", "1"]);
  provider = createOpenAICompatible({ name: "millrace", baseURL: `${server.origin}/v1`, apiKey: key, includeUsage: true });
  const models = await fetch(`${server.origin}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  model = (await models.json()).data[0].id;
});
after(async () => assert.equal(await server.stop(), 0));

test("generateText and streamText give the same text", async () => {
  const whole = await generateText(ask());
  assert.ok(whole.text.length > 0);
  assert.ok(whole.usage.inputTokens > 0);
  assert.ok(["length", "stop"].includes(whole.finishReason));
  const stream = streamText(ask());
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  assert.equal(text, whole.text);
  assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
  assert.equal(await stream.finishReason, whole.finishReason);
});

test("completions", async () => {
  const { text } = await generateText({
    ...ask(), model: provider.completionModel(model), system: undefined, prompt: "Once upon a time" });
  assert.ok(text.length > 0);
});

test("errors are API errors with the server's words", async () => {
  const refused = (status, words) => (error) => {
    assert.ok(APICallError.isInstance(error), `${error}`);
    assert.equal(error.statusCode, status);
    assert.match(error.message, words);
    return true;
  };
  await assert.rejects(generateText(ask({ temperature: 5 })), refused(400, /temperature/));
  await assert.rejects(generateText(ask({ model: provider("nobody") })), refused(404, /nobody/));
});

test("a stream is aborted, and a retry waits until there is room", async () => {
  const controller = new AbortController();
  const held = streamText(ask({ maxOutputTokens: 100_000, providerOptions: { millrace: { ignore_eos: true } },
    abortSignal: controller.signal, onError: () => {} }));
  const reader = held.textStream[Symbol.asyncIterator]();
  await reader.next();
  await assert.rejects(generateText(ask()), (error) => error.statusCode === 429);
  const patient = generateText(ask({ maxRetries: 5 }));
  setTimeout(() => controller.abort(), 300);
  assert.ok((await patient).text.length > 0);
  await eventually(() => server.requests().some((line) => line.end === "cancelled"), "the end of the stream");
});
