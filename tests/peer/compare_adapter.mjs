// A PEFT adapter that `millrace convert` made a GGUF file of, loaded by llama.cpp and by us: the logits of both under it,
// on the tiny models of tests/golden. The adapter is random, over every projection, with a rank and an alpha of their own
// for some. Fails where the logits differ by more than rounding, or where the adapter changes nothing.
//
// usage: node compare_adapter.mjs MILLRACE
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readLogits, relativeError } from "./logits.mjs";

const [millrace] = process.argv.slice(2);
if (!millrace) {
  console.error("usage: node compare_adapter.mjs MILLRACE");
  process.exit(2);
}
// Relative error of all logits: the two sum in different orders; and llama.cpp rounds what it multiplies by a matrix of
// 16-bit values to 16 bits, too, which we do not.
const kMost = { F32: 1e-4, F16: 2 ** -10, BF16: 2 ** -7 };
const kModules = {
  attn_q: "self_attn.q_proj", attn_k: "self_attn.k_proj", attn_v: "self_attn.v_proj", attn_output: "self_attn.o_proj",
  ffn_gate: "mlp.gate_proj", ffn_up: "mlp.up_proj", ffn_down: "mlp.down_proj",
};
const kTokens = Array.from({ length: 24 }, (_, i) => (i * 37 + 5) % 500).join(",");

const here = dirname(fileURLToPath(import.meta.url));
const golden = join(here, "..", "golden");
const folder = mkdtempSync(join(tmpdir(), "millrace-adapter-"));
const peerFolder = process.env.MILLRACE_PEER_BUILD ?? join(folder, "peer");
const run = (command, args) => execFileSync(command, args, { stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26 }).toString();
const library = run("bash", [join(here, "build_peer.sh"), peerFolder]).trim();

let state = 1;
function random() {  // in (-0.1, 0.1), the same in every run
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return 0.2 * (state / 2 ** 32) - 0.1;
}

// As PEFT saves it: adapter_config.json and adapter_model.safetensors.
function writePeftAdapter(path, tensors) {
  const config = {
    peft_type: "LORA", r: 4, lora_alpha: 8, bias: "none", use_rslora: true, modules_to_save: null,
    target_modules: Object.values(kModules).map((module) => module.split(".")[1]),
    rank_pattern: { "q_proj": 8 }, alpha_pattern: { "up_proj": 3 },
  };
  const header = {}, parts = [];
  let at = 0;
  const add = (name, rows, columns) => {
    const values = Float32Array.from({ length: rows * columns }, random);
    header[name] = { dtype: "F32", shape: [rows, columns], data_offsets: [at, at + values.byteLength] };
    parts.push(Buffer.from(values.buffer));
    at += values.byteLength;
  };
  for (const tensor of tensors) {
    const [, layer, kind] = /^blk\.(\d+)\.(\w+)\.weight$/.exec(tensor.name) ?? [];
    if (!kModules[kind]) continue;
    const [columns, rows] = tensor.shape;
    const rank = kind === "attn_q" ? 8 : 4;
    const module = `base_model.model.model.layers.${layer}.${kModules[kind]}`;
    add(`${module}.lora_A.weight`, rank, columns);
    add(`${module}.lora_B.weight`, rows, rank);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "adapter_config.json"), JSON.stringify(config));
  writeFileSync(join(path, "adapter_model.safetensors"), Buffer.concat([length, json, ...parts]));
}

let failed = false;
console.log("| model | values | llama.cpp - ours | with - without |\n|---|---|---|---|");
for (const name of ["llama", "qwen2", "qwen3", "gemma3"]) {
  const model = join(golden, `${name}.gguf`);
  const peft = join(folder, name), out = join(folder, "logits.f32");
  writePeftAdapter(peft, JSON.parse(run(millrace, ["inspect", model, "--tensors", "--json"])).tensor_list);
  const ours = (...lora) => {
    run(millrace, ["inspect", model, "--logits", out, "--tokens", kTokens, "--kv-type", "f32", ...lora]);
    return readLogits(out);
  };
  const without = ours();
  for (const type of Object.keys(kMost)) {
    const adapter = join(folder, `${name}-${type}.gguf`);
    run(millrace, ["convert", peft, adapter, "--base", model, "--type", type]);
    const own = ours("--lora", `${adapter}:0.5`);
    run(join(peerFolder, "llama_logits"), [library, model, out, kTokens, adapter, "0.5"]);
    const [error, change] = [relativeError(readLogits(out), own), relativeError(own, without)];
    console.log(`| ${name} | ${type} | ${error.toExponential(1)} | ${change.toFixed(3)} |`);
    failed ||= !(error < kMost[type]) || !(change > 10 * kMost[type]);
  }
}
rmSync(folder, { recursive: true });
process.exit(failed ? 1 : 0);
