// Speed of llama.cpp on a GGUF file, through node-llama-cpp's binding of llama_decode: no sampling, no tokenising,
// as its own bench tool measures. Prints one JSON object on stdout, keys as compare.mjs names the figures.
//
// usage: node llama_cpp.mjs MODEL THREADS GENERATE FIGURE[,FIGURE...]
//   FIGURE: prefill-N, decode, verify-N, decode-N-together, decode-at-N
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [modelPath, threadsText, generateText, figuresText] = process.argv.slice(2);
const threads = Number(threadsText);
const generate = Number(generateText);
const figures = figuresText.split(",");
const kBatch = 512; // llama.cpp's default for its physical batch

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads });
const model = await llama.loadModel({ modelPath });
const vocabulary = 256; // only plain byte tokens are fed

class Context {
  // `sequences` of up to `length` tokens each.
  static async create(sequences, length) {
    const self = new Context();
    self.raw = new llama._bindings.AddonContext(model._model, {
      contextSize: sequences * (length + 32),
      batchSize: kBatch,
      sequences,
      flashAttention: "auto",
      threads,
    });
    if (!(await self.raw.init())) throw new Error("llama.cpp could not make a context");
    self.raw.setThreads(threads);
    return self;
  }

  // `count` tokens of one sequence from position `first`; logits of the last one only.
  async prefill(first, count) {
    for (let done = 0; done < count; done += kBatch) {
      const n = Math.min(kBatch, count - done);
      this.raw.initBatch(n);
      const tokens = Uint32Array.from({ length: n }, (_, i) => ((first + done + i) * 7 + 3) % vocabulary);
      const last = done + n === count;
      this.raw.addToBatch(0, first + done, tokens, Uint32Array.from(last ? [n - 1] : []));
      await this.raw.decodeBatch();
    }
  }

  // `count` tokens of one sequence from `position`, logits of all.
  async verify(count, position) {
    this.raw.initBatch(count);
    const tokens = Uint32Array.from({ length: count }, (_, i) => ((position + i) * 7 + 3) % vocabulary);
    this.raw.addToBatch(0, position, tokens, Uint32Array.from({ length: count }, (_, i) => i));
    await this.raw.decodeBatch();
  }

  // One token for each of `sequences` at `position`.
  async step(sequences, position) {
    this.raw.initBatch(sequences);
    for (let s = 0; s < sequences; ++s) {
      this.raw.addToBatch(s, position, Uint32Array.of((position * 7 + s) % vocabulary), Uint32Array.of(0));
    }
    await this.raw.decodeBatch();
  }

  clear(sequences) {
    for (let s = 0; s < sequences; ++s) this.raw.disposeSequence(s);
  }
}

const now = () => Number(process.hrtime.bigint()) / 1e9;

async function timed(tokens, body) {
  const start = now();
  await body();
  return tokens / (now() - start);
}

// Tokens per second of `generate` decode steps of `sequences` together, after `depth` tokens (of one sequence).
async function decode(sequences, depth) {
  const context = await Context.create(sequences, depth + generate + 8);
  if (depth > 0) await context.prefill(0, depth);
  for (let i = 0; i < 4; ++i) await context.step(sequences, depth + i); // warm-up
  const rate = await timed(sequences * generate, async () => {
    for (let i = 4; i < 4 + generate; ++i) await context.step(sequences, depth + i);
  });
  await context.raw.dispose();
  return rate;
}

// Tokens per second of steps of `count` tokens of one sequence.
async function verify(count) {
  const context = await Context.create(1, (generate + 2) * count);
  await context.verify(count, 0); // warm-up
  const rate = await timed(count * generate, async () => {
    for (let i = 1; i <= generate; ++i) await context.verify(count, i * count);
  });
  await context.raw.dispose();
  return rate;
}

async function prefill(count) {
  const context = await Context.create(1, count + 8);
  await context.prefill(0, Math.min(count, 64)); // warm-up
  context.clear(1);
  const rate = await timed(count, () => context.prefill(0, count));
  await context.raw.dispose();
  return rate;
}

async function measure(figure) {
  let match;
  if (figure === "decode") return decode(1, 0);
  if ((match = figure.match(/^prefill-(\d+)$/))) return prefill(Number(match[1]));
  if ((match = figure.match(/^verify-(\d+)$/))) return verify(Number(match[1]));
  if ((match = figure.match(/^decode-(\d+)-together$/))) return decode(Number(match[1]), 0);
  if ((match = figure.match(/^decode-at-(\d+)$/))) return decode(1, Number(match[1]));
  throw new Error(`unknown figure ${figure}`);
}

const results = { release: llama.llamaCppRelease?.release ?? "unknown", systemInfo: llama.systemInfo };
for (const figure of figures) results[figure] = await measure(figure);
console.log(JSON.stringify(results));
process.exit(0);
