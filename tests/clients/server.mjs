// A server of the real binary on its embedded model, for one test file.
import { spawn } from "node:child_process";

export async function startServer(flags = []) {
  const binary = process.env.MILLRACE_BINARY;
  if (!binary) throw new Error("MILLRACE_BINARY must name the binary under test.");
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("MILLRACE_")));
  const child = spawn(binary, ["serve", "--port", "0", "--log-format", "json", ...flags],
    { env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  const server = {
    log: () => log,
    // The log lines of requests, as objects.
    requests: () => log.split("\n").filter((line) => line.includes(`"route"`) && line.endsWith("}")).map((line) => JSON.parse(line)),
    async stop() {
      if (child.exitCode !== null) return child.exitCode;
      const ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
      child.kill("SIGTERM");
      return await ended;
    },
  };
  await new Promise((resolve, reject) => {
    const take = (bytes) => {
      log += bytes;
      const found = log.match(/ on (http:\/\/127\.0\.0\.1:\d+)/);
      if (found) resolve(server.origin = found[1]);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("exit", (code) => reject(new Error(`The server ended with ${code}:\n${log}`)));
    child.once("error", reject);
  });
  return server;
}

// Waits until `condition` gives something; fails after two minutes.
export async function eventually(condition, what) {
  const end = Date.now() + 120_000;
  while (Date.now() < end) {
    const value = await condition();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`It never came: ${what}`);
}

// The value of a metric without labels, or the sum over its labels.
export async function metric(server, name, key) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const text = await (await fetch(`${server.origin}/metrics`, { headers })).text();
  let sum = 0;
  let found = false;
  for (const line of text.split("\n")) {
    if (!line.startsWith(`${name} `) && !line.startsWith(`${name}{`)) continue;
    found = true;
    sum += Number(line.slice(line.lastIndexOf(" ") + 1));
  }
  if (!found) throw new Error(`No metric ${name} in:\n${text.slice(0, 2000)}`);
  return sum;
}
