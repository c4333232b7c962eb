// Our quantiser beside llama.cpp's on the same model: size, time, KL against the source (both files measured by our
// engine), and the logits on our file: llama.cpp's against ours, and each against those of the same weights as floats,
// which no rounding of activations touches. The logits are those of the text's beginning, and of arbitrary bytes, on
// which the model is far less sure. Writes a table as Markdown where --out says.
//
// usage: node compare_quantizer.mjs MILLRACE F16_MODEL TEXT CALIBRATION [--types Q4_K_M,Q2_K] [--out FILE.md]
//          [--tokens N] [--logits-only]
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readLogits, relativeError } from "./logits.mjs";

const kFileTypes = {
  F16: 1, BF16: 32, Q8_0: 7, Q6_K: 18, Q5_K_M: 17, Q5_K_S: 16, Q4_K_M: 15, Q4_K_S: 14, Q4_0: 2, IQ4_NL: 25, IQ4_XS: 30,
  Q3_K_M: 12, Q2_K: 10,
};
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    types: { type: "string", default: Object.keys(kFileTypes).join(",") },
    out: { type: "string" },
    tokens: { type: "string", default: "0" },
    threads: { type: "string", default: "2" },
    "logits-only": { type: "boolean", default: false },
  },
});
const [millrace, model, text, calibration] = positionals;
if (!calibration) {
  console.error("usage: node compare_quantizer.mjs MILLRACE F16_MODEL TEXT CALIBRATION [--types ...] [--out FILE.md]");
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "millrace-quantizer-"));
const peerFolder = process.env.MILLRACE_PEER_BUILD ?? join(folder, "peer");
const run = (command, args) => execFileSync(command, args, { stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26 }).toString();
const library = run("bash", [join(here, "build_peer.sh"), peerFolder]).trim();

const quality = (file) =>
  JSON.parse(run(millrace, ["perplexity", file, text, "--reference", model, "--max-tokens", options.tokens, "--json"]));
const importance = join(folder, "importance.dat");
run(millrace, ["quantize", model, join(folder, "q8.gguf"), "Q8_0", "--calibration", calibration, "--save-importance", importance]);

// The first questions of a JSONL text with their documents and answers, or the first characters of a plain one.
function textTokens() {
  const raw = readFileSync(text, "utf8");
  const line = (d) => [...(d.documents ?? []), d.messages?.at(-1)?.content ?? d.prompt ?? d.text, d.expected ?? ""];
  const plain = text.endsWith(".jsonl")
    ? raw.split("\n").slice(0, 8).flatMap((json) => line(JSON.parse(json))).join("\n")
    : raw.slice(0, 2000);
  const json = execFileSync(millrace, ["tokenize", model, "--json"], { input: plain, maxBuffer: 1 << 26 });
  return JSON.parse(json.toString()).ids.slice(0, 200).join(",");
}
const kProbes = [textTokens(), Array.from({ length: 48 }, (_, i) => (i * 7 + 3) % 250).join(",")];

function ourLogits(file, tokens) {
  const out = join(folder, "ours.f32");
  run(millrace, ["inspect", file, "--logits", out, "--tokens", tokens, "--kv-type", "f32"]);
  return readLogits(out);
}
function theirLogits(file, tokens) {
  const out = join(folder, "theirs.f32");
  run(join(peerFolder, "llama_logits"), [library, file, out, tokens]);
  return readLogits(out);
}

// Of each probe: llama.cpp against ours, ours against the floats, llama.cpp against the floats.
function logitsErrors(file) {
  const floats = join(folder, "floats.gguf");
  run(millrace, ["quantize", file, floats, "F32"]);
  return kProbes.map((tokens) => {
    const [ours, theirs, exact] = [ourLogits(file, tokens), theirLogits(file, tokens), ourLogits(floats, tokens)];
    return [relativeError(theirs, ours), relativeError(ours, exact), relativeError(theirs, exact)];
  });
}
const cells = (errors) => errors.flatMap((probe) => probe.map((e) => `${(100 * e).toFixed(2)} %`)).join(" | ");
const kLogitsColumns = ["text: llama.cpp - ours", "ours - floats", "llama.cpp - floats",
  "bytes: llama.cpp - ours", "ours - floats", "llama.cpp - floats"];

if (options["logits-only"]) {
  console.log(`| type | ${kLogitsColumns.join(" | ")} |\n|---|${"---|".repeat(kLogitsColumns.length)}`);
  for (const type of options.types.split(",")) {
    const ours = join(folder, "ours.gguf");
    run(millrace, ["quantize", model, ours, type]);
    console.log(`| ${type} | ${cells(logitsErrors(ours))} |`);
  }
  rmSync(folder, { recursive: true });
  process.exit(0);
}

const kl = (q) => `${q.kl_mean.toExponential(3)} ± ${q.kl_standard_error.toExponential(1)}`;
const rows = [];
for (const type of options.types.split(",")) {
  for (const withImportance of type.startsWith("Q8") || type.endsWith("F16") ? [false] : [false, true]) {
    const [ours, theirs] = [join(folder, "ours.gguf"), join(folder, "theirs.gguf")];
    const own = JSON.parse(run(millrace, ["quantize", model, ours, type, "--threads", options.threads, "--json",
      ...(withImportance ? ["--importance", importance] : [])]));
    const peer = JSON.parse(run(join(peerFolder, "llama_quantize"), [model, theirs, String(kFileTypes[type]), options.threads,
      ...(withImportance ? [importance] : [])]));
    const [a, b] = [quality(ours), quality(theirs)];
    const row = {
      type, importance: withImportance, bytes: statSync(ours).size, peerBytes: statSync(theirs).size,
      seconds: own.seconds, peerSeconds: peer.seconds, quality: a, peerQuality: b, logits: logitsErrors(ours),
    };
    rows.push(row);
    console.log(`| ${type} | ${withImportance ? "yes" : "no"} | ${row.bytes} | ${row.peerBytes} | ${kl(a)} | ${kl(b)} | ` +
      `${(a.kl_mean / b.kl_mean).toFixed(3)} | ${a.kl_p99.toFixed(4)} | ${b.kl_p99.toFixed(4)} | ${cells(row.logits)} |`);
  }
}
const table = [
  `| type | importance | bytes | llama.cpp's bytes | KL mean | llama.cpp's | ratio | KL p99 | llama.cpp's | ` +
    `${kLogitsColumns.join(" | ")} |`,
  `|${"---|".repeat(9 + kLogitsColumns.length)}`,
  ...rows.map((r) =>
    `| ${r.type} | ${r.importance ? "yes" : "no"} | ${r.bytes} | ${r.peerBytes} | ${kl(r.quality)} | ${kl(r.peerQuality)} | ` +
    `${(r.quality.kl_mean / r.peerQuality.kl_mean).toFixed(3)} | ${r.quality.kl_p99.toFixed(4)} | ${r.peerQuality.kl_p99.toFixed(4)} | ` +
    `${cells(r.logits)} |`),
].join("\n");
if (options.out) {
  writeFileSync(options.out, [
    `# ${basename(model)}: our quantiser beside llama.cpp's, ${new Date().toISOString().slice(0, 10)}`, "",
    `Both files measured by our engine against the F16 file on ${basename(text)} (${rows[0].quality.tokens} tokens of ` +
      `${rows[0].quality.documents} documents; errors clustered by document). Importance: measured by our engine on ` +
      `${basename(calibration)}, the same file for both. Last columns: relative errors of logits on our file, ` +
      "llama.cpp's against ours, ours and llama.cpp's against those of the same weights as floats; on the text's " +
      "beginning, and on arbitrary bytes. " +
      "llama.cpp v0.5.0 as node-llama-cpp ships it.", "", table, "",
    "Command: `node tests/peer/compare_quantizer.mjs MILLRACE MODEL TEXT CALIBRATION --out FILE.md`.", ""].join("\n"));
}
rmSync(folder, { recursive: true });
