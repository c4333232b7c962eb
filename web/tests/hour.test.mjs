// A page left open for an hour does not grow. The hour is told quicker: as many events as it has (four a second), which
// are ones that this server sent under traffic, with the times, steps and requests going on; the page draws each of them
// before it gets the next. Measured after a collection of garbage: heap, nodes, listeners, and nodes that are nowhere.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually, useServer } from './harness.mjs';

const { open, traffic, stopTraffic, at } = useServer();
const HOUR = Number(process.env.MILLRACE_HOUR_EVENTS ?? 3600 * 4);
const WARM = Math.min(600, HOUR); // fills every list of the page
const LAST = 40; // both times after the same way through the panels, ending with the same event
const PANELS = ['load', 'prefix-cache', 'speculation', 'batching', 'kv'];

// Runs in the page before it: once `window.tape` is there, the stream is what the tape says.
function playTapes() {
  const real = window.fetch;
  window.drawn = 0;
  window.allowed = 0;
  window.fetch = async (...request) => {
    if (!window.tape || !String(request[0]).startsWith('/debug/events')) return real(...request);
    const tape = window.tape;
    const encoder = new TextEncoder();
    let closed = false;
    request[1]?.signal?.addEventListener('abort', () => (closed = true));
    const turn = new MessageChannel();
    const pause = () => new Promise((resolve) => ((turn.port1.onmessage = resolve), turn.port2.postMessage(0)));
    const stream = new ReadableStream({
      async pull(controller) {
        while (window.drawn >= window.allowed && !closed) await new Promise((resolve) => setTimeout(resolve, 20));
        if (closed) return controller.close();
        const n = window.drawn++;
        const event = structuredClone(tape[n % tape.length]);
        event.now_ms = window.begun + 250 * n;
        event.load.steps += 1000 * n;
        event.load.generated_tokens += 1000 * n;
        for (const step of event.steps ?? []) step[0] += 96 * n;
        event.ended = (event.ended ?? []).map((e, i) => ({ ...e, serial: 100_000 + 1000 * n + i, id: `req_${100_000 + 1000 * n + i}` }));
        controller.enqueue(encoder.encode(`data: ${JSON.stringify(event)}\n\n`));
        await pause(); // the page reads and draws
        await pause();
      },
    });
    return new Response(stream, { headers: { 'Content-Type': 'text/event-stream' } });
  };
}

// Runs in the page: how often the number of steps is written anew.
function countRenders() {
  window.renders = 0;
  const seen = new MutationObserver((changes) => (window.renders += changes.length));
  seen.observe(document.querySelector('[data-figure="steps"]'), { attributes: true, attributeFilter: ['data-raw'] });
}

// What this server tells under traffic, for all panels.
async function record(page) {
  return page.evaluate(async () => {
    const reader = (await fetch('/debug/events?topics=steps,kv,prefixes')).body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (text.split('\n\n').length <= 40) text += (await reader.read()).value;
    await reader.cancel();
    return text.split('\n\n').slice(0, 40).map((e) => JSON.parse(e.replace(/^data: /gm, '')));
  });
}

async function measured(session) {
  for (let i = 0; i < 3; ++i) await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  const counters = await session.send('Memory.getDOMCounters');
  const { result } = await session.send('Runtime.evaluate', { expression: 'Node.prototype' });
  const { objects } = await session.send('Runtime.queryObjects', { prototypeObjectId: result.objectId });
  const away = await session.send('Runtime.callFunctionOn', {
    objectId: objects.objectId,
    functionDeclaration: `function () {
      const away = (n) => { try { return !n.isConnected && n.nodeType !== 9; } catch { return false; } }; // prototypes are no nodes
      return this.filter(away).length;
    }`,
    returnByValue: true,
  });
  await session.send('Runtime.releaseObject', { objectId: objects.objectId });
  return { heap: usedSize, nodes: counters.nodes, listeners: counters.jsEventListeners, documents: counters.documents, detached: away.result.value };
}

describe('a page left open', () => {
  test('for an hour does not grow', { timeout: 900_000 }, async () => {
    const { page, context, close } = await open({ hash: 'load', before: playTapes });
    await traffic(page);
    await eventually(async () => (await page.locator('[data-request]').count()) >= 5, 'requests end');
    const tape = await record(page);
    await stopTraffic(page);
    await page.evaluate((events) => {
      window.begun = events.at(-1).now_ms + 60_000;
      window.tape = events;
    }, tape);
    const session = await context.newCDPSession(page);
    const play = async (panel, events) => {
      await page.evaluate((id) => (location.hash = `#/${id}`), panel);
      await page.evaluate((n) => (window.allowed += n), events);
      await eventually(() => page.evaluate(() => window.drawn === window.allowed), `${events} events of ${panel}`, 600_000);
      await page.waitForTimeout(200);
    };
    const perPanel = HOUR / PANELS.length;
    await play('kv', 1); // other topics: the page opens a stream anew, which is the tape's
    for (const panel of [...PANELS, ...PANELS]) await play(panel, WARM); // fetches, lists, the engine's own caches
    await play('load', LAST);
    const before = await measured(session);
    const drawn = await page.evaluate(() => window.drawn);
    for (const panel of PANELS) {
      if (panel === 'load') await page.evaluate(countRenders);
      await play(panel, perPanel);
      if (panel !== 'load') continue;
      const renders = await page.evaluate(() => window.renders);
      assert.ok(renders >= 0.98 * perPanel, `${renders} of ${perPanel} events were drawn one by one`);
    }
    await play('load', LAST);
    const after = await measured(session);
    assert.equal((await page.evaluate(() => window.drawn)) - drawn, HOUR + LAST);
    console.log(`before and after ${HOUR} events, ${perPanel} in each of ${PANELS.join(', ')}: ${JSON.stringify(before)} ${JSON.stringify(after)}`);
    assert.ok(after.heap - before.heap < 512 * 1024, `the heap grew by ${after.heap - before.heap} bytes`);
    for (const what of ['nodes', 'listeners', 'documents', 'detached']) {
      assert.ok(after[what] - before[what] <= 50, `${what}: ${before[what]}, then ${after[what]}`);
    }
    // It is alive, and shows the last event.
    const last = tape[(drawn + HOUR + LAST - 1) % tape.length].load.steps + 1000 * (drawn + HOUR + LAST - 1);
    assert.equal(Number(await page.locator('[data-figure="steps"]').getAttribute('data-raw')), last);
    assert.ok(at.server.pid > 0);
    await close();
  });
});
