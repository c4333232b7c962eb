// The dashboard in a real browser, against the real binary under real traffic: chat, and each panel.
// node --test web/tests     MILLRACE_BINARY, MILLRACE_PICTURES (a folder for the screenshots), CHROMIUM
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ask, eventually, figure, openPage, startServer, useServer } from './harness.mjs';

const { open, traffic, stopTraffic, at } = useServer();

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
    await eventually(async () => (await figure(page, 'kv-blocks')) > 0, 'the map is there');
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
    const events = await (await fetch(`${at.server.at}/v1/insights`)).json();
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
    const whole = await at.server.json('/v1/chat/completions', { method: 'POST', body: JSON.stringify(body) });
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
    const total = await at.server.metric('generation_tokens_total');
    assert.ok(total > before.n);
    await eventually(async () => (await figure(page, 'generated')) === total, 'generated tokens as /metrics');
    assert.equal(await figure(page, 'prompt-tokens'), await at.server.metric('prompt_tokens_total'));
    assert.equal(await figure(page, 'steps'), await at.server.metric('steps_total'));
    assert.equal(await figure(page, 'kv-use'), await at.server.metric('kv_blocks_held'));
    assert.equal(await figure(page, 'waiting'), 0);
    const first = await figure(page, 'first-token-count');
    assert.ok(first > 0 && first <= 2000);
    const insights = await at.server.json('/v1/insights');
    assert.equal(await figure(page, 'saved-prefix-cache'), insights.since_start.optimisations[0].saved_ms);
    await close();
  });

  test('continuous batching', async () => {
    const { page, close } = await open({ hash: 'batching' });
    await traffic(page);
    await eventually(async () => (await figure(page, 'places')) >= 2, 'several places are used');
    await stopTraffic(page);
    // At rest, the picture is the last 96 steps of /debug/timeline.
    const timeline = await at.server.json('/debug/timeline?steps=96');
    const last = timeline.steps.at(-1).step;
    await eventually(async () => (await page.textContent('h3')).endsWith(`to ${last.toLocaleString('en')}`), 'the last step is shown');
    const busy = timeline.steps.map((s) => s.parts.filter((p) => p.part === 'prefill' || p.part === 'decode').length);
    assert.equal(await figure(page, 'used-continuous'), busy.reduce((a, b) => a + b));
    assert.equal(await figure(page, 'places'), Math.max(...busy));
    // The same work; a prompt may be cut into other chunks.
    const used = await figure(page, 'used-continuous');
    assert.ok(Math.abs((await figure(page, 'used-static')) - used) <= 0.1 * used);
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
    const map = await at.server.json('/debug/kv');
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
    const total = await at.server.metric('prefix_cache_hits');
    await eventually(async () => (await figure(page, 'prefix-hits')) === total, 'hits as /metrics');
    assert.equal(await figure(page, 'prefix-queries'), await at.server.metric('prefix_cache_queries'));
    await eventually(async () => (await figure(page, 'prefix-runs')) > 1, 'the tree is shown');
    await close();
  });

  test('speculation', async () => {
    const { page, close } = await open({ hash: 'speculation' });
    await page.selectOption('#drafter', 'lookup');
    await page.getByRole('button', { name: 'Ask and show' }).click();
    await eventually(
      async () => (await page.locator('[data-draft]').count()) > 0 || /No draft was verified/.test(await page.textContent('main')),
      'drafts, or that there were none',
    );
    for (const [key, metric] of [
      ['verifications', 'speculation_drafts_total'],
      ['per-verification', 'speculation_verified_tokens_total'],
    ]) {
      const total = await at.server.metric(metric);
      await eventually(async () => (await figure(page, key)) === total, `${key} as /metrics`);
    }
    const saved = await at.server.metric('speculation_saved_seconds');
    await eventually(async () => Math.abs((await figure(page, 'saved')) - 1000 * saved) < 1e-3, 'savings as /metrics');
    await close();
  });

  test('prompt reduction', async () => {
    const { page, close } = await open({ hash: 'reduction' });
    await page.getByRole('button', { name: 'Rank the passages' }).click();
    await page.waitForSelector('#r-top');
    const body = {
      messages: [{ role: 'user', content: await page.inputValue('#r-question') }],
      documents: (await page.inputValue('#r-passages')).split(/\n\s*\n/),
      max_completion_tokens: 1,
      millrace: { reduce: 'auto' },
    };
    const told = (await at.server.json('/v1/chat/completions', { method: 'POST', body: JSON.stringify(body) })).usage.millrace.reduction;
    assert.equal(await figure(page, 'reduction-kept'), told.kept.length);
    assert.equal(await figure(page, 'reduction-before'), told.tokens_before);
    assert.equal(await figure(page, 'reduction-after'), told.tokens_after);
    const scores = await page.locator('[data-score]').evaluateAll((rows) => rows.map((r) => Number(r.dataset.score)));
    assert.equal(scores.length, body.documents.length);
    assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
    assert.ok(Math.abs(scores[0] - Math.max(...told.kept.map((k) => k.score))) < 1e-9);
    // The slider by keyboard: fewer passages, fewer tokens.
    await page.getByRole('button', { name: 'Ask with all' }).click();
    await page.waitForSelector('[data-try="off"]');
    await page.focus('#r-top');
    await page.keyboard.press('Home');
    await page.waitForSelector('[data-try="top:1"]');
    const tokens = async (name) => Number(await page.locator(`[data-try="${name}"]`).getAttribute('data-raw'));
    assert.ok((await tokens('top:1')) < (await tokens('off')));
    await close();
  });

  test('attention', async () => {
    const { page, close } = await open({ hash: 'attention' });
    await page.selectOption('#a-tokens', '256');
    await page.getByRole('button', { name: 'Measure now' }).click();
    await page.waitForSelector('[data-attention="256"]');
    const about = await at.server.json('/debug/about');
    // Scores and probabilities, four bytes each, of 256 x 256 pairs in every head.
    assert.equal(await figure(page, 'standard-bytes'), 2 * 4 * 256 * 256 * about.heads);
    assert.equal(await figure(page, 'flash-bytes'), 0);
    for (const way of ['standard', 'flash']) {
      assert.ok((await figure(page, `${way}-ms`)) > 0);
      const difference = await figure(page, `${way}-difference`);
      assert.ok(difference > 0 && difference < 0.02, `${way} ${difference}`);
    }
    await close();
  });

  test('quantization', async () => {
    const { page, close } = await open({ hash: 'quantization' });
    await page.waitForSelector('[data-comparison]');
    const table = await at.server.json('/debug/comparison');
    assert.equal(await page.locator('[data-model]').count(), table.models.length);
    for (const m of table.models) {
      const row = await page.locator(`[data-model="${m.precision}"]`).textContent();
      assert.ok(row.includes(m.quality.perplexity.toFixed(4)) && row.includes(m.verdict), row);
    }
    // A table of one's own.
    const own = { rules: 'r', models: [{ ...table.models[0], model: '<img src=x onerror=alert(1)>' }] };
    await page.setInputFiles('input[type=file]', { name: 'own.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(own)) });
    await eventually(async () => (await page.locator('[data-model]').count()) === 1, 'the file is shown');
    assert.match(await page.textContent('[data-model]'), /<img src=x/);
    await page.setInputFiles('input[type=file]', { name: 'bad.json', mimeType: 'application/json', buffer: Buffer.from('[1]') });
    assert.match(await page.textContent('[role=alert]'), /bad.json is not/);
    await close();
  });

  test('measure: progress, cancel, and a report in the page', async () => {
    const { page, close } = await open({ hash: 'batching' });
    for (const [panel, flag, ways] of [['batching', 'batching', 'on and off'], ['quantization', 'kv-type', 'q8_0 and bf16']]) {
      await page.goto(`${at.server.at}/#/${panel}`);
      await page.getByRole('button', { name: `Measure --${flag} ${ways}` }).click();
      await page.waitForSelector('[data-measure="running"]');
      await eventually(async () => /run \d+ of \d+/.test(await page.textContent('[data-measure]')), 'progress', 60_000);
      const { state, switches } = await at.server.json('/debug/measure');
      assert.deepEqual([state, switches], ['running', [flag]]);
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.waitForSelector('[data-measure="cancelled"]');
      assert.equal((await at.server.json('/debug/measure')).state, 'cancelled');
    }
    // A report of the lab, in its own shape.
    const finding = {
      subject: 'prefix reuse', candidate: 'all on', baseline: 'all on but <b>it</b>', failures: 0,
      metrics: [{ metric: 'ttft', baseline: 20, candidate: 10, ratio: 0.5, interval_95: [0.4, 0.625], rounds: 8, verdict: 'helps' }],
      answers: { answers: 8, differing: 0, promised_equal: true, first_difference: '' },
    };
    const report = {
      workload: 'w', model: 'm', replay: 'r', confirmed: true, stage: 'confirmation', rules: ['a rule'], notes: [],
      metrics: { ttft: { label: 'time to first token', unit: 'ms', formula: 't1 - s' } },
      same_against_itself: finding, same_is_null: true, deviation_between_rounds: 0.02, detectable_effect: 0.03,
      switches: [finding], candidates: [], recommended: 'all on', reasons: [], recommended_toml: '', machine: { processor: 'p' },
    };
    await page.goto(`${at.server.at}/#/measure`);
    await page.setInputFiles('input[type=file]', { name: 'report.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(report)) });
    await page.waitForSelector('[data-report]');
    const row = await page.locator('[data-finding="prefix reuse"] tbody tr').textContent();
    assert.match(row, /−50.0 %.*−60.0 % to −37.5 %.*helps/);
    await close();
  });
});

describe('with API keys', () => {
  test('the page asks for one, keeps it in memory, and forgets it', async () => {
    const guarded = await startServer(['--api-key', 'right']);
    const { page, context, problems } = await openPage(at.browser, guarded, { hash: 'load' });
    await page.fill('#api-key', 'wrong');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[role=alert]');
    await page.fill('#api-key', 'right');
    await page.keyboard.press('Enter');
    await eventually(() => figure(page, 'steps').then((n) => n !== null), 'figures');
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
    assert.ok(!kept.includes('right'), kept);
    await page.reload();
    await page.waitForSelector('#api-key');
    assert.deepEqual(problems, []);
    await context.close();
    assert.equal(await guarded.stop(), 0);
  });
});
