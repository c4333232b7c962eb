// LangChain's ChatOpenAI and OpenAI.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AIMessage, HumanMessage, SystemMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI } from "@langchain/openai";
import { eventually, startServer } from "./server.mjs";

let server;
let model;
const messages = [new SystemMessage("You are terse."), new HumanMessage("Tell me about rivers.")];
const options = (more) => ({
  model, apiKey: "none", configuration: { baseURL: `${server.origin}/v1` }, maxRetries: 0, maxTokens: 24,
  temperature: 0, ...more });

before(async () => {
  server = await startServer();
  model = (await (await fetch(`${server.origin}/v1/models`)).json()).data[0].id;
});
after(async () => assert.equal(await server.stop(), 0));

for (const useResponsesApi of [false, true]) {
  test(`chat, whole and streamed, by ${useResponsesApi ? "responses" : "chat completions"}`, async () => {
    const chat = new ChatOpenAI(options({ useResponsesApi }));
    const whole = await chat.invoke(messages);
    assert.ok(whole.text.length > 0);
    assert.ok(whole.usage_metadata.input_tokens > 0);
    let text = "";
    for await (const chunk of await chat.stream(messages)) text += chunk.text;
    assert.equal(text, whole.text);
    const more = await chat.invoke([...messages, new AIMessage(whole.text), new HumanMessage("And lakes?")]);
    assert.ok(more.usage_metadata.input_tokens > whole.usage_metadata.input_tokens);
  });
}

test("several at once", async () => {
  const chat = new ChatOpenAI(options());
  const alone = await chat.invoke(messages);
  const batch = await chat.batch([messages, [new HumanMessage("Hello")], messages]);
  assert.equal(batch[0].text, alone.text);
  assert.equal(batch[2].text, alone.text);
});

test("completions", async () => {
  const text = await new OpenAI(options()).invoke("Once upon a time");
  assert.ok(text.length > 0);
});

test("errors and aborts", async () => {
  await assert.rejects(new ChatOpenAI(options({ model: "nobody" })).invoke(messages), (error) => error.status === 404);
  await assert.rejects(new ChatOpenAI(options({ topP: 5 })).invoke(messages), (error) => error.status === 400);
  const long = new ChatOpenAI(options({ maxTokens: 100_000, modelKwargs: { ignore_eos: true }, streaming: true }));
  const controller = new AbortController();
  await assert.rejects(async () => {
    for await (const chunk of await long.stream(messages, { signal: controller.signal })) {
      assert.ok(chunk);
      controller.abort();
    }
  });
  await eventually(() => server.requests().some((line) => line.end === "cancelled"), "the end");
});
