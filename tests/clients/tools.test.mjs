// Tools, formats and reasoning through every client. The demo model was not made for tools, so calls are
// asked for: then the answer is a call as its schema says, whatever the model would rather say.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject, generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { startServer } from "./server.mjs";

let server;
let openai;
let anthropic;
let provider;
let model;

const question = [{ role: "user", content: "What will the weather be in Oslo?" }];
const parameters = {
  type: "object",
  properties: {
    city: { type: "string", enum: ["Oslo", "Rome", "Quito"] },
    days: { type: "integer", minimum: 1, maximum: 7 },
  },
  required: ["city", "days"],
  additionalProperties: false,
};
const zodParameters = z.object({ city: z.enum(["Oslo", "Rome", "Quito"]), days: z.number().int().min(1).max(7) });
const weather = { type: "function", function: { name: "weather", description: "The forecast", parameters } };
const clock = { type: "function", function: { name: "clock", description: "The time" } };
const check = (input) => {
  assert.deepEqual(Object.keys(input), ["city", "days"]);
  assert.ok(parameters.properties.city.enum.includes(input.city), input.city);
  assert.ok(Number.isInteger(input.days) && input.days >= 1 && input.days <= 7);
};
const named = { type: "function", function: { name: "weather" } };
const thinking = "<think>\nIt rains.\n</think>\n\nYes.";
const thoughtful = { grammar: `root ::= ${JSON.stringify(thinking)}`, reasoning_format: "deepseek" };

before(async () => {
  server = await startServer();
  const baseURL = `${server.origin}/v1`;
  openai = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: server.origin, apiKey: "none", maxRetries: 0 });
  provider = createOpenAICompatible({
    name: "millrace", baseURL, apiKey: "none", includeUsage: true, supportsStructuredOutputs: true });
  model = (await openai.models.list()).data[0].id;
});
after(async () => assert.equal(await server.stop(), 0));

const chat = (more) => ({ model, messages: question, tools: [weather, clock], max_completion_tokens: 200, seed: 3, ...more });

test("openai: a call, its result, and the answer after it", async () => {
  const first = await openai.chat.completions.create(chat({ tool_choice: named }));
  const [choice] = first.choices;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, null);
  assert.equal(choice.message.tool_calls.length, 1);
  const [call] = choice.message.tool_calls;
  assert.equal(call.function.name, "weather");
  check(JSON.parse(call.function.arguments));
  const answer = (content) => openai.chat.completions.create(chat({
    messages: [...question, choice.message, { role: "tool", tool_call_id: call.id, content }],
    tool_choice: "none", max_completion_tokens: 12 }));
  const second = await answer("Rain.");
  assert.equal(second.choices[0].message.tool_calls, undefined);
  const longer = await answer("Rain, and then more rain.");  // the model is shown what came out
  assert.ok(longer.usage.prompt_tokens > second.usage.prompt_tokens);
});

test("openai: a call in pieces is the whole one", async () => {
  const whole = (await openai.chat.completions.create(chat({ tool_choice: named }))).choices[0].message.tool_calls[0];
  let pieces = 0;
  const stream = openai.chat.completions.stream(chat({ tool_choice: named }));
  stream.on("tool_calls.function.arguments.delta", () => ++pieces);
  const completion = await stream.finalChatCompletion();
  assert.equal(completion.choices[0].finish_reason, "tool_calls");
  const [call] = completion.choices[0].message.tool_calls;
  assert.equal(call.function.arguments, whole.function.arguments);
  assert.match(call.id, /^call_/);
  assert.ok(pieces > 1, `${pieces}`);
});

test("openai: required, and several answers", async () => {
  const { choices } = await openai.chat.completions.create(
    chat({ tool_choice: "required", parallel_tool_calls: false, n: 4 }));
  for (const { message } of choices) {
    assert.equal(message.tool_calls.length, 1);
    assert.ok(["weather", "clock"].includes(message.tool_calls[0].function.name));
  }
});

test("openai: refusals name the field", async () => {
  const refused = async (more, param) => await assert.rejects(
    openai.chat.completions.create(chat(more)), (error) => error.status === 400 && error.param === param);
  await refused({ tool_choice: { type: "function", function: { name: "nobody" } } }, "tool_choice");
  await refused({ tools: [{ type: "function", function: { name: "no spaces" } }] }, "tools[0].function.name");
  await refused({ tools: [{ type: "function", function: { name: "f", parameters: { type: "object", not: {} } } }],
    tool_choice: "required" }, "tools[0].function.parameters");
});

test("openai: a schema's answer is parsed", async () => {
  const { choices } = await openai.chat.completions.parse(
    chat({ tools: undefined, response_format: zodResponseFormat(zodParameters, "forecast") }));
  check(choices[0].message.parsed);
});

test("openai: responses with calls, whole and streamed", async () => {
  const ask = { model, input: "What will the weather be in Oslo?", max_output_tokens: 200, seed: 3,
    tools: [{ type: "function", name: "weather", parameters, strict: true }], tool_choice: "required",
    parallel_tool_calls: false };
  const whole = await openai.responses.create(ask);
  assert.equal(whole.status, "completed");
  const [call] = whole.output;
  assert.equal(call.type, "function_call");
  check(JSON.parse(call.arguments));
  const stream = openai.responses.stream(ask);
  let pieces = "";
  stream.on("response.function_call_arguments.delta", (event) => (pieces += event.delta));
  const streamed = await stream.finalResponse();
  assert.equal(streamed.output[0].arguments, call.arguments);
  assert.equal(pieces, call.arguments);
  const more = await openai.responses.create({ ...ask, tool_choice: "none", max_output_tokens: 12,
    input: [{ role: "user", content: ask.input }, call, { type: "function_call_output", call_id: call.call_id, output: "Rain." }] });
  assert.equal(more.output[0].type, "message");
});

test("anthropic: a tool is used, whole and streamed", async () => {
  const ask = { model, max_tokens: 200, messages: question, seed: 3,
    tools: [{ name: "weather", description: "The forecast", input_schema: parameters }],
    tool_choice: { type: "tool", name: "weather" } };
  const message = await anthropic.messages.create(ask);
  assert.equal(message.stop_reason, "tool_use");
  assert.equal(message.content.length, 1);
  const [use] = message.content;
  assert.equal(use.type, "tool_use");
  assert.match(use.id, /^toolu_/);
  check(use.input);
  let pieces = 0;
  const stream = anthropic.messages.stream(ask);
  stream.on("inputJson", () => ++pieces);
  const streamed = await stream.finalMessage();
  assert.deepEqual(streamed.content[0].input, use.input);
  assert.equal(streamed.stop_reason, "tool_use");
  assert.ok(pieces > 1);
  const any = await anthropic.messages.create({ ...ask, tool_choice: { type: "any" } });
  assert.equal(any.content[0].type, "tool_use");
  const after = await anthropic.messages.create({ ...ask, tool_choice: { type: "none" }, max_tokens: 12,
    messages: [...question, { role: "assistant", content: message.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "Rain." }] }] });
  assert.equal(after.content[0].type, "text");
});

test("AI SDK: tools are called, whole and streamed, and their results are sent back", async () => {
  const seen = [];
  const tools = { weather: tool({ description: "The forecast", inputSchema: zodParameters,
    execute: async (input) => { seen.push(input); return "Rain."; } }) };
  const ask = { model: provider(model), prompt: "What will the weather be in Oslo?", tools, maxRetries: 0, seed: 3,
    toolChoice: { type: "tool", toolName: "weather" }, maxOutputTokens: 200 };
  const whole = await generateText(ask);
  assert.equal(whole.finishReason, "tool-calls");
  check(whole.toolCalls[0].input);
  assert.equal(whole.toolResults[0].output, "Rain.");
  const stream = streamText(ask);
  const kinds = new Set();
  for await (const part of stream.fullStream) kinds.add(part.type);
  assert.ok(kinds.has("tool-input-delta") && kinds.has("tool-result"), [...kinds].join());
  assert.deepEqual((await stream.toolCalls)[0].input, whole.toolCalls[0].input);
  assert.equal(seen.length, 2);
});

test("AI SDK: an object as its schema says", async () => {
  const { object } = await generateObject({ model: provider(model), schema: zodParameters, prompt: "The forecast.",
    maxOutputTokens: 200, maxRetries: 0 });
  check(object);
});

test("LangChain: bound tools and structured output", async () => {
  const llm = new ChatOpenAI({ model, apiKey: "none", configuration: { baseURL: `${server.origin}/v1` }, maxRetries: 0, maxTokens: 200 });
  const forecast = langchainTool(async () => "Rain.", { name: "weather", description: "The forecast", schema: zodParameters });
  const bound = llm.bindTools([forecast], { tool_choice: "weather" });
  const message = await bound.invoke("What will the weather be in Oslo?");
  check(message.tool_calls[0].args);
  let streamed;
  for await (const chunk of await bound.stream("What will the weather be in Oslo?")) {
    streamed = streamed ? streamed.concat(chunk) : chunk;
  }
  check(streamed.tool_calls[0].args);
  for (const method of ["jsonSchema", "functionCalling"]) {
    check(await llm.withStructuredOutput(zodParameters, { method, name: "forecast" }).invoke("The forecast."));
  }
});

test("reasoning stands apart in every client", async () => {
  const ask = { model, messages: question, max_completion_tokens: 100, ...thoughtful };
  const whole = await openai.chat.completions.create(ask);
  assert.equal(whole.choices[0].message.reasoning_content, "It rains.");
  assert.equal(whole.choices[0].message.content, "Yes.");
  const { reasoning_tokens } = whole.usage.completion_tokens_details;
  assert.ok(reasoning_tokens > 0 && reasoning_tokens < whole.usage.completion_tokens);
  const left = await openai.chat.completions.create({ ...ask, reasoning_format: "none" });
  assert.equal(left.choices[0].message.content, thinking);
  let reasoning = "";
  let content = "";
  for await (const chunk of await openai.chat.completions.create({ ...ask, stream: true })) {
    reasoning += chunk.choices[0].delta.reasoning_content ?? "";
    content += chunk.choices[0].delta.content ?? "";
  }
  assert.deepEqual([reasoning, content], ["It rains.", "Yes."]);
  const sdk = await generateText({ model: provider(model), prompt: "Rain?", maxRetries: 0, maxOutputTokens: 100,
    providerOptions: { millrace: thoughtful } });
  assert.deepEqual([sdk.reasoningText, sdk.text], ["It rains.", "Yes."]);
  const response = await openai.responses.create({ model, input: "Rain?", max_output_tokens: 100, ...thoughtful });
  assert.deepEqual(response.output.map((item) => item.type), ["reasoning", "message"]);
  assert.equal(response.output[0].content[0].text, "It rains.");
  assert.equal(response.output_text, "Yes.");
  assert.ok(response.usage.output_tokens_details.reasoning_tokens > 0);
  const body = { model, max_tokens: 100, messages: question, ...thoughtful };
  const message = await anthropic.messages.create(body);
  assert.deepEqual(message.content.map((block) => block.type), ["thinking", "text"]);
  assert.equal(message.content[0].thinking, "It rains.");
  const streamed = await anthropic.messages.stream(body).finalMessage();
  assert.deepEqual(streamed.content.map((block) => block.thinking ?? block.text), ["It rains.", "Yes."]);
});
