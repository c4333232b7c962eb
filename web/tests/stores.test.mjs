// A store of passages asked in the chat: what was cited, and what went along, opens its text.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ask, useServer } from './harness.mjs';

let folder;
const { open, at } = useServer(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-dashboard-stores-'));
  return ['--store-dir', folder];
});
after(() => rm(folder, { recursive: true, force: true }));

const TOWN = 'Sudun is a festival. Its host town is Taicix.';
// Of many chunks, so that the right one must be found.
const LONG = Array.from({ length: 60 }, (_, i) => `The product Ziwou${i} is a small drone. The weight of Ziwou${i} is ${100 + i} grams.`).join(' ');

describe('a store', () => {
  before(async () => {
    const post = (path, body) => at.server.json(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    const store = await post('/v1/vector_stores', { name: 'fair' });
    for (const [file_id, text] of [['a town/100%', TOWN], ['drones', LONG]]) await post(`/v1/vector_stores/${store.id}/files`, { file_id, text });
  });

  test('opens the text of what is cited', async () => {
    const { page, close } = await open({ hash: 'chat' });
    await page.selectOption('#store', 'fair');
    await ask(page, 'What is the host town of Sudun?');
    assert.match(await page.textContent('[data-answer]'), /Taicix/);
    await page.locator('[data-answer] button.cite').first().press('Enter');
    await page.getByText(TOWN).waitFor();
    assert.match(await page.textContent('[data-passage]'), /Passage 1 · a town\/100%/);
    await page.locator('[data-answer] button.cite').first().press('Enter');
    assert.equal(await page.locator('[data-passage]').count(), 0);
    await close();
  });

  test('opens the passage of a long document that was in the prompt, and no other', async () => {
    const { page, close } = await open({ hash: 'chat' });
    await page.selectOption('#store', 'fair');
    await page.selectOption('#s-reduce', 'top:1');
    await ask(page, 'What is the weight of Ziwou42?');
    await page.getByRole('button', { name: 'Passage 1 in the prompt' }).click();
    const text = page.locator('[data-passage] .text');
    await text.filter({ hasText: 'Ziwou42' }).waitFor();
    const shown = await text.textContent();
    assert.ok(LONG.includes(shown) && shown.length < LONG.length, shown);
    await close();
  });

  test('says so where the passage is gone', async () => {
    const { page } = await open({ hash: 'chat' });
    await page.selectOption('#store', 'fair');
    await ask(page, 'What is the host town of Sudun?');
    const gone = await fetch(`${at.server.at}/v1/vector_stores/fair/files/${encodeURIComponent('a town/100%')}`, { method: 'DELETE' });
    assert.equal(gone.status, 200);
    await page.locator('button.cite').first().click();
    await page.locator('[data-passage] [role=alert]').waitFor();
    await page.context().close(); // the browser notes the 404
  });
});
