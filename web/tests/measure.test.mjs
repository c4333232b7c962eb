// A measurement that is started from the page, to its end: fresh servers, rounds, the report opens.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually, useServer } from './harness.mjs';

const { open, at } = useServer();

describe('measure --quick', () => {
  test('from the page to its report', { timeout: 300_000 }, async () => {
    const { page, close } = await open({ hash: 'measure' });
    const boxes = page.getByRole('group', { name: 'Switches to measure' }).getByRole('checkbox');
    for (const box of await boxes.all()) if (await box.isChecked()) await box.uncheck();
    assert.ok(await page.getByRole('button', { name: 'Start measure --quick' }).isDisabled(), 'of nothing there is nothing to measure');
    await page.getByRole('checkbox', { name: 'batching' }).check();
    await page.selectOption('#m-minutes', '0.25');
    await page.getByRole('button', { name: 'Start measure --quick' }).press('Enter');
    // Progress goes up, run by run.
    const seen = new Set();
    await eventually(
      async () => {
        const state = await page.locator('[data-measure]').getAttribute('data-measure');
        const run = /run (\d+) of (\d+)/.exec((await page.textContent('[data-measure]')) ?? '');
        if (run) seen.add(Number(run[1]));
        assert.notEqual(state, 'failed', await page.textContent('[data-measure]'));
        return state === 'done';
      },
      'it comes to its end',
      280_000,
    );
    const runs = [...seen];
    assert.ok(runs.length >= 3, `${runs}`);
    assert.deepEqual(runs, [...runs].sort((a, b) => a - b));
    // The report is there by itself, and says what the server's says.
    await page.locator('[data-report]').waitFor();
    const { report } = await at.server.json('/debug/measure');
    assert.equal(report.switches.length, 1);
    const [finding] = report.switches;
    const rows = page.locator(`[data-report] [data-finding="${finding.subject}"] tbody tr`);
    assert.equal(await rows.count(), finding.metrics.length);
    for (const [i, m] of finding.metrics.entries()) {
      const row = await rows.nth(i).textContent();
      assert.ok(row.includes(report.metrics[m.metric].label), row);
      const change = 100 * (m.ratio - 1);
      assert.ok(row.includes(`${change >= 0 ? '+' : '−'}${Math.abs(change).toFixed(1)} %`), `${row} against ${change}`);
      assert.ok(m.rounds > 0 && m.interval_95[0] < m.interval_95[1]);
    }
    assert.match(await page.textContent('[data-report]'), new RegExp(report.machine.processor ?? report.machine.cpu ?? '.'));
    // And in the panel of what was measured.
    await page.evaluate(() => (location.hash = '#/batching'));
    await page.locator(`[data-finding="${finding.subject}"]`).waitFor();
    await close();
  });
});
