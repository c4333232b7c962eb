// What the other files leave out of the table of clients, routes and ways to call them: schemas, errors, retries
// and aborts of each client on each route that it can call. One request of the key at a time.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAI as LangChainCompletions } from "@langchain/openai";
import { generateText, streamObject, streamText } from "ai";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { eventually, startServer } from "./server.mjs";

const key = "sk-test-key";
const question = [{ role: "user", content: "What will the weather be in Oslo?" }];
const forecast = z.object({ city: z.enum(["Oslo", "Rome"]), days: z.number().int().min(1).max(7) });
const schema = {
  type: "object",
  properties: { city: { type: "string", enum: ["Oslo", "Rome"] }, days: { type: "integer", minimum: 1, maximum: 7 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const endless = { ignore_eos: true };
let server;
let model;
let openai;
let anthropic;
let provider;
let langchain;

// Clients that try again as often as `maxRetries` says.
const clientsOf = (maxRetries) => ({
  openai: new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: key, maxRetries }),
  anthropic: new Anthropic({ baseURL: server.origin, apiKey: key, maxRetries }),
  langchain: (more) => ({ model, apiKey: key, configuration: { baseURL: `${server.origin}/v1` }, maxRetries,
    maxTokens: 60, temperature: 0, ...more }),
});

before(async () => {
  server = await startServer(["--api-key", key, "--max-requests-per-key", "1"]);
  ({ openai, anthropic, langchain } = clientsOf(0));
  provider = createOpenAICompatible({ name: "millrace", baseURL: `${server.origin}/v1`, apiKey: key,
    includeUsage: true, supportsStructuredOutputs: true });
  model = (await openai.models.list()).data[0].id;
});
after(async () => assert.equal(await server.stop(), 0));

const isForecast = (value) => assert.deepEqual(forecast.parse(value), value);
const cancelled = () => server.requests().filter((line) => line.end === "cancelled").length;
// What `call` begins ends on the server when its signal says so.
async function ends(call) {
  const before = cancelled();
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 150);
  await assert.rejects(async () => await call(controller.signal));
  await eventually(() => cancelled() > before, "the end on the server");
}
// While another request has the key's place, `call(client)` is refused with 429 at once; with retries it is answered
// as soon as the other has ended.
async function waits(call) {
  const held = await openai.chat.completions.create({ model, messages: question, max_completion_tokens: 100_000,
    stream: true, ...endless });
  await held[Symbol.asyncIterator]().next();
  await assert.rejects(async () => await call(clientsOf(0), 0), (error) => (error.status ?? error.statusCode) === 429);
  const patient = call(clientsOf(10), 10);
  setTimeout(() => held.controller.abort(), 300);
  return await patient;
}

test("openai: completions by a grammar, refusals, a retry, an abort", async () => {
  const ask = { model, prompt: "The forecast:", max_tokens: 60, grammar: 'root ::= "Rain" | "Sun"' };
  const { choices } = await openai.completions.create(ask);
  assert.match(choices[0].text, /^(Rain|Sun)$/);
  let text = "";
  for await (const chunk of await openai.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.text ?? "";
  assert.match(text, /^(Rain|Sun)$/);
  for (const [more, param] of [[{ grammar: "root ::= (" }, "grammar"], [{ max_tokens: -1 }, "max_tokens"],
    [{ prompt: [] }, "prompt"], [{ prompt: [-1] }, "prompt"]]) {
    await assert.rejects(openai.completions.create({ ...ask, ...more }), { status: 400, param });
  }
  await assert.rejects(openai.completions.create({ ...ask, model: "nobody" }), OpenAI.NotFoundError);
  const answered = await waits((client) => client.openai.completions.create(ask));
  assert.match(answered.choices[0].text, /^(Rain|Sun)$/);
  const long = { model, prompt: "Once", max_tokens: 100_000, ...endless };
  await ends((signal) => openai.completions.create(long, { signal }));
  await ends(async (signal) => {
    for await (const chunk of await openai.completions.create({ ...long, stream: true }, { signal })) assert.ok(chunk);
    signal.throwIfAborted();  // the client ends an aborted stream without an error
  });
});

test("openai: responses by a schema, a retry, an abort of a whole one", async () => {
  const ask = { model, input: question, max_output_tokens: 100, text: { format: zodTextFormat(forecast, "forecast") } };
  isForecast((await openai.responses.parse(ask)).output_parsed);
  const streamed = await openai.responses.stream(ask).finalResponse();
  isForecast(JSON.parse(streamed.output_text));
  await assert.rejects(openai.responses.create({ ...ask, text: { format: { type: "json_schema", name: "x",
    schema: { type: "something" } } } }), { status: 400 });
  isForecast((await waits((client) => client.openai.responses.parse(ask))).output_parsed);
  await ends((signal) => openai.responses.create({ model, input: "Once", max_output_tokens: 100_000, ...endless }, { signal }));
});

test("anthropic: a schema, refusals of tools and counts, a retry, an abort of a whole one", async () => {
  const ask = { model, max_tokens: 100, messages: question, output_config: { format: { type: "json_schema", schema } } };
  const message = await anthropic.messages.create(ask);
  isForecast(JSON.parse(message.content[0].text));
  const streamed = await anthropic.messages.stream(ask).finalMessage();
  isForecast(JSON.parse(streamed.content[0].text));
  const refused = async (call) => await assert.rejects(call,
    (error) => error.status === 400 && error.error.error.type === "invalid_request_error");
  await refused(anthropic.messages.create({ ...ask, output_config: { format: { type: "json_schema",
    schema: { type: "something" } } } }));
  await refused(anthropic.messages.create({ ...ask, tools: [{ name: "no spaces", input_schema: schema }] }));
  await refused(anthropic.messages.create({ ...ask, tools: [{ name: "f", input_schema: schema }],
    tool_choice: { type: "tool", name: "nobody" } }));
  await refused(anthropic.messages.countTokens({ model, messages: [] }));
  await assert.rejects(anthropic.messages.countTokens({ model: "nobody", messages: question }), Anthropic.NotFoundError);
  const tools = [{ name: "weather", description: "The forecast", input_schema: schema }];
  const without = await anthropic.messages.countTokens({ model, messages: question });
  const withTools = await anthropic.messages.countTokens({ model, messages: question, tools });
  assert.ok(withTools.input_tokens > without.input_tokens);
  isForecast(JSON.parse((await waits((client) => client.anthropic.messages.create(ask))).content[0].text));
  await ends((signal) => anthropic.messages.create({ model, max_tokens: 4000, messages: question, ...endless }, { signal }));
});

test("AI SDK: an object as a stream; completions as a stream, refused, tried again, aborted", async () => {
  const stream = streamObject({ model: provider(model), schema: forecast, prompt: "The forecast.", maxOutputTokens: 100,
    maxRetries: 0 });
  let parts = 0;
  for await (const part of stream.partialObjectStream) parts += part ? 1 : 0;
  isForecast(await stream.object);
  assert.ok(parts > 0);
  const ask = (more) => ({ model: provider.completionModel(model), prompt: "Once upon a time", maxOutputTokens: 12,
    maxRetries: 0, temperature: 0, ...more });
  const whole = await generateText(ask());
  let text = "";
  for await (const piece of streamText(ask()).textStream) text += piece;
  assert.equal(text, whole.text);
  await assert.rejects(generateText(ask({ temperature: 5 })), (error) => error.statusCode === 400 && /temperature/.test(error.message));
  await assert.rejects(generateText(ask({ model: provider.completionModel("nobody") })), (error) => error.statusCode === 404);
  const patient = await waits((_, maxRetries) => generateText(ask({ maxRetries: Math.min(maxRetries, 6) })));
  assert.equal(patient.text, whole.text);
  const long = { maxOutputTokens: 100_000, providerOptions: { millrace: endless } };
  await ends((abortSignal) => generateText(ask({ ...long, abortSignal })));
  await ends(async (abortSignal) => {
    for await (const piece of streamText(ask({ ...long, abortSignal, onError: () => {} })).textStream) assert.equal(typeof piece, "string");
    abortSignal.throwIfAborted();
  });
  await ends((abortSignal) => generateText({ ...ask({ ...long, abortSignal }), model: provider(model) }));
});

test("LangChain: tools and schemas by responses; refusals, retries and aborts by every route", async () => {
  const responses = new ChatOpenAI(langchain({ useResponsesApi: true, maxTokens: 200 }));
  const weather = langchainTool(async () => "Rain.", { name: "weather", description: "The forecast", schema: forecast });
  const message = await responses.bindTools([weather], { tool_choice: "weather" }).invoke(question);
  isForecast(message.tool_calls[0].args);
  isForecast(await responses.withStructuredOutput(forecast, { method: "jsonSchema", name: "forecast" }).invoke(question));
  await assert.rejects(new ChatOpenAI(langchain({ useResponsesApi: true, topP: 5 })).invoke(question), { status: 400 });
  await assert.rejects(new LangChainCompletions(langchain({ topP: 5 })).invoke("Once"), { status: 400 });
  await assert.rejects(new LangChainCompletions(langchain({ model: "nobody" })).invoke("Once"), { status: 404 });

  const whole = await new LangChainCompletions(langchain()).invoke("Once upon a time");
  let text = "";
  for await (const piece of await new LangChainCompletions(langchain()).stream("Once upon a time")) text += piece;
  assert.equal(text, whole);

  for (const useResponsesApi of [false, true]) {
    const answer = await waits((client) => new ChatOpenAI(client.langchain({ useResponsesApi })).invoke(question));
    assert.ok(answer.text.length > 0);
    const long = new ChatOpenAI(langchain({ useResponsesApi, maxTokens: 100_000, modelKwargs: endless }));
    await ends((signal) => long.invoke(question, { signal }));
    await ends(async (signal) => {
      for await (const chunk of await long.stream(question, { signal })) assert.ok(chunk);
      signal.throwIfAborted();
    });
  }
  assert.equal(await waits((client) => new LangChainCompletions(client.langchain()).invoke("Once upon a time")), whole);
  await ends((signal) => new LangChainCompletions(langchain({ maxTokens: 100_000, modelKwargs: endless })).invoke("Once", { signal }));
});
