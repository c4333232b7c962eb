// usage: node validate.mjs SCHEMA_ANSWERS MODEL.gguf     1,000 schemas, published ones and random ones, three answers
// each: every answer parses, and Ajv finds it valid.
import { spawnSync } from "node:child_process";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const object = (properties, extra = {}) => ({
  type: "object", properties, required: Object.keys(properties), additionalProperties: false, ...extra,
});
const string = { type: "string" };

// From OpenAI's guide to structured outputs.
const published = [
  object({ steps: { type: "array", items: object({ explanation: string, output: string }) }, final_answer: string }),
  object({ name: string, date: string, participants: { type: "array", items: string } }),
  object({
    item: {
      anyOf: [
        object({ name: string, age: { type: "number" } }),
        object({ number: string, street: string, city: string }),
      ],
    },
  }),
  { ...object({ linked_list: { $ref: "#/$defs/node" } }),
    $defs: { node: object({ value: { type: "number" }, next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] } }) } },
  object({
    type: { type: "string", enum: ["div", "button", "header", "section", "field", "form"] },
    label: string,
    children: { type: "array", items: { $ref: "#" } },
    attributes: { type: "array", items: object({ name: string, value: string }) },
  }),
  object({ unit: { type: ["string", "null"], enum: ["F", "C", null] }, location: string }),
  object({
    username: { type: "string", pattern: "^@[a-zA-Z0-9_]+$" },
    email: { type: "string", format: "email" },
    temperature: { type: "number", minimum: -130, maximum: 130 },
  }),
];

let state = 12345;
const next = () => {  // mulberry32
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const below = (n) => Math.floor(next() * n);
const pick = (list) => list[below(list.length)];
const names = ["id", "name", "größe", "a b", "quote\"d", "line\nbreak", "tags", "x", "xy", "value", "\u{1F600}"];
const some = (list) => list.filter(() => next() < 0.4);
const formats = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];
const patterns = ["^[a-z]{2,5}$", "\\d+", "^(foo|bar)?$", "^[^\"\\\\]{1,4}$", "^\\w+(-\\w+)*$", "[aé]|ß", "^\\S+\\s\\S+$"];

const makers = [
  () => ({ type: "null" }),
  () => ({ type: "boolean" }),
  () => ({ type: "integer" }),
  () => {
    const low = below(400) - 200;
    return { type: "integer", minimum: low, exclusiveMaximum: low + 1 + below(300) };
  },
  () => ({ type: "integer", multipleOf: 1 + below(20) }),
  () => ({ type: "number" }),
  () => {
    const low = (below(400) - 200) / 4;
    return { type: "number", exclusiveMinimum: low, maximum: low + 0.5 + below(50) };
  },
  () => string,
  () => {
    const least = below(4);
    return { type: "string", minLength: least, maxLength: least + below(12) };
  },
  () => ({ type: "string", format: pick(formats) }),
  () => ({ type: "string", pattern: pick(patterns) }),
  () => ({ enum: ["a", 1, null, true, { k: [1, "é"] }, -2.5].slice(below(3)) }),
  () => ({ const: pick(["x", 7, null, { a: { b: [] } }, "tab\there"]) }),
];
const nested = [
  (d) => {
    const least = below(3);
    return { type: "array", items: schema(d), minItems: least, maxItems: least + below(4) };
  },
  (d) => ({ type: "array", prefixItems: [schema(d), schema(d)], items: next() < 0.5 ? false : schema(d), minItems: below(3) }),
  (d) => {
    const properties = Object.fromEntries(some(names).map((name) => [name, schema(d)]));
    const made = { type: "object", properties, required: some(Object.keys(properties)) };
    const kind = below(4);
    if (kind === 0) made.additionalProperties = false;
    if (kind === 1) made.additionalProperties = schema(d);
    if (kind === 2) { made.patternProperties = { "^p[0-9]": schema(0) }; made.additionalProperties = false; }
    return made;
  },
  (d) => ({ type: "object", additionalProperties: schema(d), minProperties: below(2), maxProperties: 1 + below(3) }),
  (d) => ({ type: "object", propertyNames: { pattern: "^[a-z]{1,3}$" }, additionalProperties: schema(d), maxProperties: 2 }),
  (d) => ({ anyOf: [schema(d), schema(d)] }),
  (d) => ({ oneOf: [object({ kind: { const: "a" }, v: schema(d) }), object({ kind: { const: "b" } }), { type: "null" }] }),
  (d) => ({ allOf: [{ type: "object", properties: { a: schema(d) }, required: ["a"] },
                    { properties: { b: { type: "integer" } }, required: ["b"] }] }),
  (d) => ({ $defs: { part: schema(d) }, type: "object", properties: { p: { type: ["integer", "null"] } }, required: ["p"] }),
];
function schema(depth) {
  return depth > 0 && next() < 0.7 ? pick(nested)(depth - 1) : pick(makers)();
}

const schemas = [...published];
while (schemas.length < 1000) schemas.push(schema(3));
const run = spawnSync(process.argv[2], [process.argv[3], "3"],
  { input: schemas.map((s) => JSON.stringify(s)).join("\n") + "\n", maxBuffer: 1 << 30 });
const lines = run.stdout.toString().trimEnd().split("\n");
const ajv = new Ajv({ strict: false, validateFormats: true });
addFormats(ajv);
let answers = 0;
const wrong = [];
schemas.forEach((s, i) => {
  const line = JSON.parse(lines[i] ?? '{"error": "no answer"}');
  if (line.error) return wrong.push([s, line.error]);
  const validate = ajv.compile(s);
  for (const text of line.answers) {
    ++answers;
    let value;
    try {
      value = JSON.parse(text);
    } catch (error) {
      wrong.push([s, text, error.message]);
      continue;
    }
    if (!validate(value)) wrong.push([s, text, ajv.errorsText(validate.errors)]);
  }
});
console.log(`${schemas.length} schemas, ${answers} answers, ${wrong.length} wrong`);
for (const entry of wrong.slice(0, 10)) console.log(JSON.stringify(entry).slice(0, 1500));
process.exit(wrong.length === 0 && answers === 3 * schemas.length ? 0 : 1);
