// What the tests share: the real binary, a real browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { after, before } from 'node:test';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const binary = process.env.MILLRACE_BINARY ?? join(root, '../build/dev/apps/millrace');
export const pictures = process.env.MILLRACE_PICTURES ?? join(root, '../build/dashboard-pictures');

const BROWSERS = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'].filter(Boolean);
export const chromium = BROWSERS.find((path) => existsSync(path));

// A server on a port that the system chooses; `stop` ends it as an operator would.
export async function startServer(flags = [], environment = {}) {
  const child = spawn(binary, ['serve', '--port', '0', '--log-level', 'info', ...flags], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  const port = await new Promise((resolve, reject) => {
    const see = (bytes) => {
      log = (log + bytes).slice(-100_000);
      const found = /on http:\/\/[\d.]+:(\d+)/.exec(log);
      if (found) resolve(Number(found[1]));
    };
    child.stdout.on('data', see);
    child.stderr.on('data', see);
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${log}`)));
  });
  const at = `http://127.0.0.1:${port}`;
  return {
    at,
    pid: child.pid,
    get log() {
      return log;
    },
    async json(path, init) {
      return (await fetch(at + path, init)).json();
    },
    // The value of a metric without labels, or of one with the labels as they are written.
    async metric(name) {
      const text = await (await fetch(`${at}/metrics`)).text();
      const line = text.split('\n').find((l) => l.startsWith(`millrace:${name} `));
      return line === undefined ? undefined : Number(line.split(' ').at(-1));
    },
    async stop() {
      if (child.exitCode !== null) return child.exitCode;
      child.kill('SIGTERM');
      const [code] = await once(child, 'exit');
      return code;
    },
  };
}

export async function openBrowser() {
  const playwright = await import('playwright-core');
  return playwright.chromium.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] });
}

// A page that fails the test where the browser reports an error, a broken policy or a request elsewhere.
export async function openPage(browser, server, { hash = '', width = 1360, height = 900, dark = false, before = null } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
  const page = await context.newPage();
  if (before) await page.addInitScript(before);
  const problems = [];
  page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 401/.test(message.text())) problems.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(server.at) && !request.url().startsWith('blob:')) problems.push(`request to ${request.url()}`);
  });
  await page.goto(`${server.at}/#/${hash}`);
  return { page, context, problems };
}

export async function picture(page, name) {
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
}

// The server's own number behind a figure on the page.
export async function figure(page, key) {
  const raw = await page.locator(`[data-figure="${key}"]`).first().getAttribute('data-raw');
  return raw === '' || raw === null ? null : Number(raw);
}

export async function eventually(check, what, ms = 60_000) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: ${last instanceof Error ? last.message : last}`);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}

// A server and a browser for the tests of a file; both are looked at when it ends.
export function useServer(flags = [], environment = {}) {
  const at = { server: null, browser: null };
  before(async () => {
    at.server = await startServer(typeof flags === 'function' ? await flags() : flags, environment);
    at.browser = await openBrowser();
  });
  after(async () => {
    await at.browser?.close();
    assert.equal(await at.server.stop(), 0);
  });
  return {
    at,
    async open(options) {
      const opened = await openPage(at.browser, at.server, options);
      await opened.page.waitForSelector('#panel-title');
      return {
        ...opened,
        async close() {
          await opened.context.close();
          assert.deepEqual(opened.problems, []);
        },
      };
    },
    traffic: (page) => page.getByRole('button', { name: 'Start sample traffic' }).click(),
    async stopTraffic(page) {
      await page.getByRole('button', { name: 'Stop sample traffic' }).click();
      await eventually(async () => (await at.server.metric('num_requests_running')) === 0, 'the server comes to rest');
    },
  };
}

// A question in the chat, until its ledger is there.
export async function ask(page, question, passages) {
  await page.fill('#system', 'You are a helpful assistant. Use only the evidence provided.');
  if (passages !== undefined) await page.fill('#passages', passages);
  await page.fill('#question', question);
  await page.keyboard.press('Enter');
  await page.locator('.ledger').last().waitFor();
}
