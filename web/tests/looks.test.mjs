// Every panel, once used, light and dark, wide and on a phone: axe, nothing cut, pictures to look at.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { picture, useServer } from './harness.mjs';

const { open, traffic, stopTraffic } = useServer();

describe('for everybody', () => {
  const PANELS = ['chat', 'load', 'prefix-cache', 'speculation', 'batching', 'reduction', 'kv', 'attention', 'quantization', 'measure'];
  // What a panel shows once it was used.
  const USE = {
    async chat(page) {
      await page.getByRole('button', { name: 'Take an example' }).first().click();
      await page.getByRole('button', { name: 'Ask', exact: true }).click();
      await page.waitForSelector('.ledger');
    },
    async 'prefix-cache'(page) {
      await page.getByRole('button', { name: 'Send one prompt twice' }).click();
      await page.waitForSelector('[data-pair="again"]');
    },
    async speculation(page) {
      // Beside others the controller drafts little, and on a machine whose steps vary at times nothing at all: then the
      // panel is looked at without a draft.
      await stopTraffic(page);
      await page.selectOption('#drafter', 'suffix');
      for (let i = 0; i < 20 && (await page.locator('[data-draft]').count()) === 0; ++i) {
        await page.getByRole('button', { name: 'Ask and show' }).click();
        await page.waitForTimeout(400);
      }
      await traffic(page);
      await page.waitForTimeout(1200);
    },
    async reduction(page) {
      await page.getByRole('button', { name: 'Rank the passages' }).click();
      await page.waitForSelector('#r-top');
      await page.getByRole('button', { name: 'Ask with auto' }).click();
      await page.waitForSelector('[data-try="auto"]');
    },
    async attention(page) {
      await page.getByRole('button', { name: 'Measure now' }).click();
      await page.waitForSelector('[data-attention]');
    },
  };

  for (const [name, options] of [
    ['wide-light', {}],
    ['wide-dark', { dark: true }],
    ['phone-light', { width: 390, height: 844 }],
    ['phone-dark', { width: 390, height: 844, dark: true }],
  ]) {
    test(`${name}: axe finds nothing serious, nothing is cut, pictures are made`, async () => {
      const { page, close } = await open({ hash: 'load', ...options });
      const axe = await readFile(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
      await traffic(page);
      for (const panel of PANELS) {
        await page.evaluate((id) => (location.hash = `#/${id}`), panel);
        await page.waitForTimeout(700);
        await USE[panel]?.(page);
        await picture(page, `${panel}-${name}`);
        await page.evaluate(axe);
        const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        const serious = found.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
        assert.deepEqual(serious.map((v) => `${panel}: ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(' | ')}`), []);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${panel} is ${wide} px too wide`);
      }
      await stopTraffic(page);
      await close();
    });
  }
});
