// Ours beside llama.cpp on the same file, in one run: the two take turns, a round each, and the ratio is taken round by
// round, so that a machine whose speed drifts does not decide. Prints a table, and writes it with the machine's
// description as Markdown and JSON where --out says.
//
// usage: node compare.mjs MILLRACE MODEL [--threads N] [--rounds N] [--generate N] [--quick] [--out FILE_WITHOUT_SUFFIX]
import { execFileSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
    generate: { type: "string", default: "32" },
    quick: { type: "boolean", default: false }, // without the figures at 4096 tokens
    out: { type: "string" },
  },
});
const [millrace, model] = positionals;
if (!millrace || !model) {
  console.error("usage: node compare.mjs MILLRACE MODEL [--threads N] [--rounds N] [--quick] [--out FILE]");
  process.exit(2);
}

// A figure: its name at the peer, and how our bench measures it.
const kFigures = [
  { name: "prefill-512", ours: ["--prompt", "512", "--generate", "0"], key: "prefill_tokens_per_second" },
  { name: "decode", ours: ["--prompt", "0"], key: "decode_tokens_per_second" },
  { name: "decode-4-together", ours: ["--prompt", "0", "--batch", "4"], key: "decode_tokens_per_second" },
  { name: "decode-16-together", ours: ["--prompt", "0", "--batch", "16"], key: "decode_tokens_per_second" },
  // Steps of eight tokens of one sequence, logits of all: what verifying drafts costs, in tokens/s.
  { name: "verify-8", ours: ["--prompt", "0", "--generate", "0", "--verify", "8"], key: "verify" },
  { name: "prefill-4096", ours: ["--prompt", "4096", "--generate", "0"], key: "prefill_tokens_per_second", long: true },
  { name: "decode-at-4096", ours: ["--prompt", "0", "--depth", "4096"], key: "decode_tokens_per_second", long: true },
];
const figures = kFigures.filter((f) => !(options.quick && f.long));

function run(command, args) {
  return JSON.parse(execFileSync(command, args, { stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26 }));
}

let machine = {};
const verificationRatios = []; // of ours: a step of eight tokens against a decode step
function measureOurs(figure) {
  const generate = figure.ours.includes("--generate") ? [] : ["--generate", options.generate];
  const args = ["bench", model, "--json", "--repeat", figure.key === "verify" ? "8" : "1", "--threads", options.threads, ...figure.ours, ...generate];
  const result = run(millrace, args);
  machine = result.machine;
  if (figure.key === "verify") {
    const verification = result.verification[0];
    verificationRatios.push(verification.ratio);
    return verification.verify / verification.verify_seconds.median;
  }
  return result.rows[0][figure.key].median;
}

const peerScript = join(dirname(fileURLToPath(import.meta.url)), "llama_cpp.mjs");
function measurePeer(figure) {
  const result = run(process.execPath, [peerScript, model, options.threads, options.generate, figure.name]);
  peer = { release: result.release, systemInfo: result.systemInfo };
  return result[figure.name];
}
let peer = {};

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const rows = figures.map((figure) => ({ figure: figure.name, ours: [], peer: [] }));
for (let round = 0; round < Number(options.rounds); ++round) {
  figures.forEach((figure, i) => {
    // Who goes first alternates too.
    const turns = [() => rows[i].ours.push(measureOurs(figure)), () => rows[i].peer.push(measurePeer(figure))];
    if (round % 2) turns.reverse();
    for (const turn of turns) turn();
  });
}
for (const row of rows) row.ratios = row.ours.map((ours, i) => ours / row.peer[i]);

const cpu = readFileSync("/proc/cpuinfo", "utf8");
const field = (name) => cpu.match(new RegExp(`^${name}\\s*: (.*)$`, "m"))?.[1] ?? "unknown";
const description = {
  date: new Date().toISOString().slice(0, 10),
  cpu: `${field("model name")}, family ${field("cpu family")}, model ${field("model")}`,
  threads: Number(options.threads),
  read_gb_per_second: machine.read_bytes_per_second / 1e9,
  int8_gmac_per_second: machine.int8_macs_per_second ? machine.int8_macs_per_second / 1e9 : null,
  model: basename(model),
  model_bytes: statSync(model).size,
  peer: `llama.cpp ${peer.release}, as node-llama-cpp ships it`,
  peer_features: peer.systemInfo,
  rounds: Number(options.rounds),
};

const number = (x) => x.toFixed(1);
const range = (values, digits) => `${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)}`;
const table = [
  "| figure | Millrace, tokens/s | llama.cpp, tokens/s | ratio, median | ratio, all rounds |",
  "|---|---|---|---|---|",
  ...rows.map(
    (r) =>
      `| ${r.figure} | ${number(median(r.ours))} | ${number(median(r.peer))} | ${median(r.ratios).toFixed(2)} | ` +
      `${range(r.ratios, 2)} |`,
  ),
].join("\n");
const verification = verificationRatios.length
  ? `\nVerifying 8 tokens of one sequence costs Millrace ${median(verificationRatios).toFixed(2)} decode steps ` +
    `(${range(verificationRatios, 2)}).`
  : "";
console.log(table + verification);

if (options.out) {
  const machineLine =
    `Read bandwidth ${number(description.read_gb_per_second)} GB/s` +
    (description.int8_gmac_per_second ? `, int8 peak ${number(description.int8_gmac_per_second)} GMAC/s` : "") +
    ", both measured in this run by `millrace bench`.";
  const text = [
    `# ${description.model} beside llama.cpp, ${description.date}`,
    "",
    `${description.cpu}; ${description.threads} threads. ${machineLine}`,
    "",
    `Peer: ${description.peer}. ${description.rounds} rounds, the two taking turns; medians; ratios are taken round by round.`,
    "",
    table + verification.replace("\n", "\n\n"),
    "",
    `Command: \`make bench\` (\`node tests/peer/compare.mjs MILLRACE MODEL --rounds ${options.rounds}\`).`,
    "",
  ].join("\n");
  writeFileSync(`${options.out}.md`, text);
  writeFileSync(`${options.out}.json`, JSON.stringify({ ...description, rows }, null, 2) + "\n");
}
