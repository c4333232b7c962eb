// What a page that is open costs the server, and itself.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { openPage, startServer, useServer } from './harness.mjs';

const { at } = useServer();

describe('what watching costs', () => {
  test('little of the server, and no memory that grows', async () => {
    const quiet = await startServer();
    const { page, context } = await openPage(at.browser, quiet, { hash: 'batching' });
    await page.waitForSelector('#panel-title');
    const body = JSON.stringify({ prompt: 'x', max_tokens: 120, ignore_eos: true, n: 4 });
    await fetch(`${quiet.at}/v1/completions`, { method: 'POST', body });
    // A panel's whole data in the steady state: 96 steps of four sequences, four times a second.
    const cpu = async () => {
      const stat = (await readFile(`/proc/${quiet.pid}/stat`, 'utf8')).split(') ')[1].split(' ');
      return (Number(stat[11]) + Number(stat[12])) / 100;
    };
    await page.waitForTimeout(1000);
    const session = await context.newCDPSession(page);
    const heap = async () => {
      await session.send('HeapProfiler.collectGarbage');
      return (await session.send('Runtime.getHeapUsage')).usedSize;
    };
    for (let i = 0; i < 3; ++i) await heap();
    const [cpuBefore, before, begin] = [await cpu(), await heap(), Date.now()];
    await page.waitForTimeout(10_000);
    const seconds = (Date.now() - begin) / 1000;
    const share = ((await cpu()) - cpuBefore) / seconds;
    const growth = (await heap()) - before;
    console.log(`watching batching costs the server ${(100 * share).toFixed(2)} % of a core; the page grew by ${(growth / 1024).toFixed(0)} KiB in ${seconds.toFixed(0)} s`);
    assert.ok(share < (process.env.MILLRACE_STRICT_TIMES ? 0.01 : 0.1), `${share}`);
    assert.ok(growth < 1024 * 1024, `${growth}`);
    await context.close();
    assert.equal(await quiet.stop(), 0);
  });
});
