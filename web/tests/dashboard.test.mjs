// The dashboard in a real browser, against the real binary under real traffic.
// node --test web/tests     MILLRACE_BINARY, MILLRACE_PICTURES (a folder for the screenshots), CHROMIUM
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, figure, openBrowser, openPage, picture, startServer } from './harness.mjs';

let server, browser;
before(async () => {
  server = await startServer();
  browser = await openBrowser();
});
after(async () => {
  await browser.close();
  assert.equal(await server.stop(), 0);
});

async function open(options) {
  const opened = await openPage(browser, server, options);
  await opened.page.waitForSelector('#panel-title');
  return {
    ...opened,
    async close() {
      await opened.context.close();
      assert.deepEqual(opened.problems, []);
    },
  };
}

async function ask(page, question, passages) {
  await page.fill('#system', 'You are a helpful assistant. Use only the evidence provided.');
  await page.fill('#passages', passages);
  await page.fill('#question', question);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.ledger');
}

const traffic = (page) => page.getByRole('button', { name: 'Start sample traffic' }).click();
async function stopTraffic(page) {
  await page.getByRole('button', { name: 'Stop sample traffic' }).click();
  await eventually(async () => (await server.metric('num_requests_running')) === 0, 'the server comes to rest');
}

describe('the page', () => {
  test('is small, quick, and asks nobody else', async () => {
    const { page, close } = await open();
    const paint = await eventually(
      () => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime),
      'a first paint',
    );
    console.log(`first paint after ${paint.toFixed(0)} ms`);
    const bytes = await page.evaluate(() =>
      [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .filter((e) => !e.name.includes('/debug/'))
        .reduce((sum, e) => sum + e.encodedBodySize, 0),
    );
    assert.ok(bytes > 10_000 && bytes < 300 * 1024, `${bytes} bytes`);
    assert.ok(paint < (process.env.MILLRACE_STRICT_TIMES ? 300 : 3000), `${paint} ms`);
    await close();
  });

  test('works by keyboard', async () => {
    const { page, close } = await open({ hash: 'chat' });
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'To the panel');
    for (let i = 0; i < 20; ++i) {
      await page.keyboard.press('Tab');
      if ((await page.evaluate(() => document.activeElement?.getAttribute('href'))) === '#/kv') break;
    }
    await page.keyboard.press('Enter');
    await eventually(async () => (await page.textContent('#panel-title')) === 'Paged KV memory', 'the panel opens');
    await page.getByRole('application', { name: 'KV blocks' }).focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await eventually(async () => (await page.textContent('.told')).startsWith('Block 1:'), 'the arrows look at a block');
    await close();
  });
});

describe('chat', () => {
  test('answers with citations that open their passage, and a ledger as the API tells it', async () => {
    const { page, close } = await open({ hash: 'chat' });
    const passages = ['Sudun is a festival. Its host town is Taicix.', 'Fajas is a port on the coast. Its mayor is Greta Koleack.'];
    await ask(page, 'What is the host town of Sudun?', passages.join('\n\n'));
    assert.match(await page.textContent('[data-answer]'), /Taicix/);
    await page.locator('button.cite').first().click();
    assert.match(await page.textContent('[data-passage]'), /Sudun is a festival/);

    // The same once more by the API: the counts are a function of the request.
    const events = await (await fetch(`${server.at}/v1/insights`)).json();
    assert.ok(events.since_start.requests >= 1);
    const cached = Number(await page.locator('[data-ledger="prefix"]').getAttribute('data-raw'));
    const body = {
      messages: [
        { role: 'system', content: 'You are a helpful assistant. Use only the evidence provided.' },
        { role: 'user', content: 'What is the host town of Sudun?' },
      ],
      documents: passages,
      max_completion_tokens: 128,
      temperature: 0,
      cache_salt: 'another',
    };
    const whole = await server.json('/v1/chat/completions', { method: 'POST', body: JSON.stringify(body) });
    assert.equal(whole.choices[0].message.content, (await page.textContent('[data-answer]')).trim());
    assert.equal(cached, whole.usage.millrace.cached_tokens);
    await close();
  });

  test('the switches reach the server', async () => {
    const { page, close } = await open({ hash: 'chat' });
    const passages = Array.from({ length: 6 }, (_, i) => `The product Ziwou${i} is a small drone. The weight of Ziwou${i} is ${100 + i} grams.`);
    await page.selectOption('#s-reduce', 'top:1');
    await ask(page, 'What is the weight of Ziwou3?', passages.join('\n\n'));
    assert.equal(await page.locator('[data-ledger="reduction"]').getAttribute('data-raw'), '5');
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.selectOption('#s-reduce', 'off');
    await ask(page, 'What is the weight of Ziwou3?', passages.join('\n\n'));
    assert.equal(await page.locator('[data-ledger="reduction"]').getAttribute('data-raw'), '0');
    await close();
  });

  test('says what went wrong in the server\'s words', async () => {
    const { page } = await open({ hash: 'chat' });
    await page.fill('#question', 'word '.repeat(20_000));
    await page.getByRole('button', { name: 'Ask', exact: true }).click();
    await eventually(async () => /context length/.test(await page.textContent('[role=alert]')), 'the error is shown');
    await page.context().close(); // without a look at the console, where the browser notes the 400
  });
});

describe('panels change with what the server does, and say what the API says', () => {
  test('live load', async () => {
    const { page, close } = await open({ hash: 'load' });
    const before = await eventually(() => figure(page, 'generated').then((n) => (n === null ? null : { n })), 'figures');
    await traffic(page);
    await eventually(async () => (await figure(page, 'running')) > 0, 'requests run');
    await eventually(async () => (await page.locator('[data-request]').count()) >= 5, 'the waterfall fills');
    await stopTraffic(page);
    const total = await server.metric('generation_tokens_total');
    assert.ok(total > before.n);
    await eventually(async () => (await figure(page, 'generated')) === total, 'generated tokens as /metrics');
    assert.equal(await figure(page, 'prompt-tokens'), await server.metric('prompt_tokens_total'));
    assert.equal(await figure(page, 'steps'), await server.metric('steps_total'));
    assert.equal(await figure(page, 'kv-use'), await server.metric('kv_blocks_held'));
    assert.equal(await figure(page, 'waiting'), 0);
    const first = await figure(page, 'first-token-count');
    assert.ok(first > 0 && first <= 2000);
    const insights = await server.json('/v1/insights');
    assert.equal(await figure(page, 'saved-prefix-cache'), insights.since_start.optimisations[0].saved_ms);
    await close();
  });

  test('continuous batching', async () => {
    const { page, close } = await open({ hash: 'batching' });
    await traffic(page);
    await eventually(async () => (await figure(page, 'places')) >= 2, 'several places are used');
    await stopTraffic(page);
    // At rest, the picture is the last 96 steps of /debug/timeline.
    const timeline = await server.json('/debug/timeline?steps=96');
    const last = timeline.steps.at(-1).step;
    await eventually(async () => (await page.textContent('h3')).endsWith(`to ${last.toLocaleString('en')}`), 'the last step is shown');
    const busy = timeline.steps.map((s) => s.parts.filter((p) => p.part === 'prefill' || p.part === 'decode').length);
    assert.equal(await figure(page, 'used-continuous'), busy.reduce((a, b) => a + b));
    assert.equal(await figure(page, 'places'), Math.max(...busy));
    assert.equal(await figure(page, 'used-static'), await figure(page, 'used-continuous'), 'the same work');
    assert.ok((await figure(page, 'steps-static')) >= (await figure(page, 'steps-continuous')) - 1);
    const mean = timeline.steps.reduce((sum, s) => sum + s.ms, 0) / timeline.steps.length;
    assert.ok(Math.abs((await figure(page, 'step-mean')) - mean) < 1e-6);
    await close();
  });

  test('paged KV', async () => {
    const { page, close } = await open({ hash: 'kv' });
    await traffic(page);
    await eventually(async () => (await figure(page, 'kv-held')) > 0, 'requests hold blocks');
    await eventually(async () => (await figure(page, 'reserved-contiguous')) > (await figure(page, 'reserved-paged')), 'contiguous sets more aside');
    await stopTraffic(page);
    const map = await server.json('/debug/kv');
    const cached = map.blocks.filter((b) => b.cached && !b.requests).length;
    await eventually(async () => (await figure(page, 'kv-cached')) === cached, 'cached blocks as /debug/kv');
    assert.equal(await figure(page, 'kv-blocks'), map.blocks.length);
    assert.equal(await figure(page, 'kv-held'), 0);
    assert.equal(await figure(page, 'kv-free'), map.blocks.filter((b) => !b.holders).length);
    await close();
  });

  test('prefix cache', async () => {
    const { page, close } = await open({ hash: 'prefix-cache' });
    await page.getByRole('button', { name: 'Send one prompt twice' }).click();
    const again = page.locator('[data-pair="again"]');
    await again.waitFor();
    const [, hits, of] = /; (\d+) of (\d+) prompt tokens cached/.exec(await again.textContent()).map(Number);
    assert.ok(hits > 0 && hits < of);
    assert.match(await page.locator('[data-pair="the first time"]').textContent(), /; 0 of/);
    const total = await server.metric('prefix_cache_hits');
    await eventually(async () => (await figure(page, 'prefix-hits')) === total, 'hits as /metrics');
    assert.equal(await figure(page, 'prefix-queries'), await server.metric('prefix_cache_queries'));
    await eventually(async () => (await figure(page, 'prefix-runs')) > 1, 'the tree is shown');
    await close();
  });
});
