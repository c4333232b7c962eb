// Nobody gets into the page: not by what they ask, store, name or send, nor by what a broken server would tell.
import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ask, eventually, root, useServer } from './harness.mjs';

const EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
const IN_NAME = EVIL.replaceAll('/', '');

let folder;
const { open, at } = useServer(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-hostile-'));
  const model = join(folder, `${IN_NAME}.gguf`); // its name is that of the model
  await copyFile(join(root, '../models/evidence-target.gguf'), model);
  await mkdir(join(folder, 'stores'));
  return [model, '--store-dir', join(folder, 'stores')];
});
after(() => rm(folder, { recursive: true, force: true }));

async function unharmed(page) {
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('main img, main script, header script, nav img, body > img').count(), 0);
}

describe('nobody gets in', () => {
  test('by passages, questions, file names, answers or ids', async () => {
    const { page, close } = await open({ hash: 'chat' });
    await page.setInputFiles('#files', { name: `${EVIL.replaceAll('/', '')}.txt`, mimeType: 'text/plain', buffer: Buffer.from(`Sudun is a festival. Its host town is ${EVIL}.`) });
    await ask(page, `What is the host town of Sudun? ${EVIL}`, EVIL);
    // An answer and an id that nobody sends here: what a broken or hostile server would.
    await page.route('**/v1/chat/completions', (route) =>
      route.fulfill({
        contentType: 'text/event-stream',
        body: [
          { choices: [{ delta: { content: `${EVIL} [1]` } }] },
          { choices: [{ delta: { annotations: [{ file_citation: { start_index: EVIL.length + 1, end_index: EVIL.length + 4, number: 1, file_id: EVIL, filename: EVIL, index: 0 } }] }, finish_reason: 'stop' }] },
        ].map((e) => `data: ${JSON.stringify(e)}\n\n`).join('') + 'data: [DONE]\n\n',
      }),
    );
    await page.fill('#question', 'again');
    await page.keyboard.press('Enter');
    await eventually(async () => (await page.locator('[data-answer]').last().textContent()).includes(EVIL), 'the text is shown as text');
    await page.locator('button.cite').last().click();
    await page.unroute('**/v1/chat/completions');
    await page.evaluate((id) => (location.hash = `#/${id}`), EVIL);
    await unharmed(page);
    await close();
  });

  test('by ids that clients send, names of models, documents and stores', async () => {
    const { page, close } = await open({ hash: 'load' });
    const post = (path, body) =>
      fetch(at.server.at + path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'x-request-id': EVIL, 'request-id': EVIL, 'openai-organization': EVIL, traceparent: EVIL },
        body: JSON.stringify(body),
      });
    assert.equal((await post('/v1/vector_stores', { name: EVIL })).status, 400); // no name of a store
    const store = await (await post('/v1/vector_stores', { name: 'odd', metadata: {} })).json();
    const filed = await post(`/v1/vector_stores/${store.id}/files`, { file_id: EVIL, text: `Sudun is a festival. Its host town is ${EVIL}.`, title: EVIL });
    assert.equal(filed.status, 200, await filed.text());
    for (const user of [EVIL, 'plain']) {
      const answer = await post('/v1/chat/completions', {
        messages: [{ role: 'user', content: `What is the host town of Sudun? ${EVIL}` }], user, prompt_cache_key: EVIL, cache_salt: EVIL, max_completion_tokens: 8,
        millrace: { store: 'odd' },
      });
      assert.equal(answer.status, 200);
      // The id is the server's own, whatever the client would like.
      assert.match(answer.headers.get('x-request-id'), /^req_[0-9a-z]+$/);
    }
    await eventually(async () => (await page.locator('[data-request]').count()) >= 2, 'they are in the waterfall');
    for (const id of await page.locator('[data-request]').evaluateAll((rows) => rows.map((r) => r.dataset.request))) assert.match(id, /^req_[0-9a-z]+$/);
    assert.ok((await page.textContent('.model')).includes(IN_NAME), 'the name of the model is shown as text');
    await page.evaluate(() => (location.hash = '#/chat'));
    await page.selectOption('#store', 'odd');
    await ask(page, 'What is the host town of Sudun?');
    await page.getByRole('button', { name: 'Passage 1 in the prompt' }).click();
    await eventually(async () => (await page.textContent('[data-passage]')).includes(`Passage 1 · ${EVIL}`), 'the id is shown as text');
    for (const panel of ['prefix-cache', 'batching', 'kv']) {
      await page.evaluate((id) => (location.hash = `#/${id}`), panel);
      await page.waitForTimeout(700);
      await unharmed(page);
    }
    await close();
  });

  test('by a stream whose every name is hostile', async () => {
    const { page, close } = await open({ hash: 'load' });
    const event = await page.evaluate(async () => {
      const reader = (await fetch('/debug/events?topics=steps,kv,prefixes')).body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      while (!text.includes('\n\n')) text += (await reader.read()).value;
      await reader.cancel();
      return JSON.parse(text.split('\n\n')[0].replace(/^data: /gm, ''));
    });
    event.names = { 1: EVIL };
    event.steps = [[1, 0, 1, 0, [[1, 4, 1, 0, 1, 0, 0]]]];
    event.prefixes = { runs: [[null, 32, 1, 0, 0, 0, EVIL]], left_out: 0 };
    event.measure = { state: 'failed', switches: [EVIL, 'kv', 'batching', 'prefix-cache'], done: 0, total: 1, progress: EVIL, message: EVIL, serial: 9 };
    event.load.speculation.drafters = { [EVIL]: [3, 2] };
    event.insights.note = EVIL;
    for (const o of event.insights.since_start.optimisations) Object.assign(o, { name: EVIL, by: EVIL });
    event.insights.request_time = ['kv', 'batching', 'prefix-cache'].map((flag) => ({ name: EVIL, switch: flag, ratio: 0.5, requests: 3, by: EVIL }));
    const ended = { serial: 1e6, id: EVIL, end: EVIL, status: 200, arrival_ms: 1, total_ms: 9, first_token_ms: 2, finish: EVIL, prompt_tokens: 3, completion_tokens: 3 };
    const ledger = { queued_ms: 1, prefill_ms: 1, decode_ms: 1, reduction_ms: 0, cached_tokens: 1, cached_saved_ms: 1 };
    event.ended = [{ ...ended, ledger }];
    let asked = 0;
    await page.route('**/debug/events*', (route) => (++asked, route.fulfill({ contentType: 'text/event-stream', body: `data: ${JSON.stringify(event)}\n\n` })));
    const seen = {};
    for (const panel of ['prefix-cache', 'speculation', 'batching', 'kv', 'load']) {
      await page.evaluate((id) => (location.hash = `#/${id}`), panel);
      const before = asked;
      await eventually(async () => asked > before + 1, 'the hostile stream was read');
      seen[panel] = (await page.textContent('main')).includes(EVIL);
      await unharmed(page);
    }
    assert.deepEqual(seen, { 'prefix-cache': true, speculation: true, batching: true, kv: true, load: true });
    await close();
  });

  test('nor runs anything that the policy does not name', async () => {
    const { page, context } = await open();
    const refused = await page.evaluate(async () => {
      const seen = [];
      document.addEventListener('securitypolicyviolation', (e) => seen.push(e.effectiveDirective));
      const script = document.createElement('script');
      try {
        script.text = 'window.hacked=1';
        document.body.append(script);
      } catch (error) {
        seen.push(error.name);
      }
      await fetch('http://127.0.0.1:1/').catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 200));
      return { seen, hacked: window.hacked };
    });
    assert.equal(refused.hacked, undefined);
    assert.ok(refused.seen.includes('connect-src'), JSON.stringify(refused));
    await context.close();
  });
});
