// Under traffic, what stands on the screen is what the server told at that moment: every figure of every panel against
// the very event that it was drawn from, and against /metrics read before and after.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually, figure, useServer } from './harness.mjs';

const { open, traffic, stopTraffic, at } = useServer();

// Runs in the page: keeps what the event stream told last, and an explained answer, beside what the page itself reads.
function keepEvents() {
  const real = window.fetch;
  window.told = null;
  window.fetch = async (...request) => {
    const response = await real(...request);
    if (String(request[1]?.body).includes('"explain":true')) {
      const [own, mine] = response.body.tee();
      window.explained = new Response(mine).text();
      return new Response(own, { status: response.status, headers: response.headers });
    }
    if (!String(request[0]).startsWith('/debug/events')) return response;
    const [own, mine] = response.body.tee();
    void (async () => {
      let text = '';
      for await (const piece of mine.pipeThrough(new TextDecoderStream())) {
        const events = (text + piece).split('\n\n');
        text = events.pop();
        for (const event of events) {
          const data = event.split('\n').filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n');
          if (data) window.told = { ...window.told, ...JSON.parse(data) };
        }
      }
    })().catch(() => {});
    return new Response(own, { status: response.status, headers: response.headers });
  };
}

// What was told and what is shown, with no event between the two.
const moment = (page) =>
  page.evaluate(async () => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    for (;;) {
      const told = window.told;
      await frame();
      await frame();
      const shown = Object.fromEntries(
        [...document.querySelectorAll('[data-figure]')].map((e) => [e.dataset.figure, { raw: e.dataset.raw === '' ? null : Number(e.dataset.raw), text: e.textContent }]),
      );
      if (told && told === window.told) return { told, shown };
    }
  });

const sum = (values) => values.reduce((a, b) => a + b, 0);
const ratioOf = (told, flag) =>
  told.insights.request_time.find((e) => e.switch === flag)?.ratio ?? told.insights.now.optimisations.find((e) => e.switch === flag)?.ratio ?? null;
const blocks = (told, which) => sum(told.kv.runs.filter(which).map((r) => r[0]));
const busyMs = (step) => step[2] * step[4].filter((p) => p[1] >= 3).length;

// By panel and figure: what it must be, from the event. Whole numbers must also be spelt so.
const PANELS = {
  load: {
    running: (e) => e.load.running,
    waiting: (e) => e.load.waiting,
    'kv-use': (e) => e.load.blocks_held,
    generated: (e) => e.load.generated_tokens,
    'prompt-tokens': (e) => e.load.prompt_tokens,
    steps: (e) => e.load.steps,
    completed: (e) => e.load.ended.completed ?? 0,
    preemptions: (e) => e.load.preemptions,
    'first-token-p50': (e) => e.load.first_token.p50,
    'first-token-most': (e) => e.load.first_token.most,
    'between-tokens-p50': (e) => e.load.between_tokens.p50,
    'between-tokens-p99': (e) => e.load.between_tokens.p99,
    'saved-prefix-cache': (e) => e.insights.since_start.optimisations[0].saved_ms,
  },
  'prefix-cache': {
    'prefix-queries': (e) => e.load.prefix_queries,
    'prefix-hits': (e) => e.load.prefix_hits,
    'blocks-cached': (e) => e.load.blocks_cached,
    'request-time-prefix-cache': (e) => ratioOf(e, 'prefix-cache'),
  },
  speculation: {
    verifications: (e) => e.load.speculation.verifications,
    drafted: (e) => sum(Object.values(e.load.speculation.drafters).map((d) => d[0])),
    accepted: (e) => sum(Object.values(e.load.speculation.drafters).map((d) => d[1])),
    'per-verification': (e) => e.load.speculation.verified_tokens,
    saved: (e) => e.load.speculation.saved_ms,
    'request-time-speculate': (e) => ratioOf(e, 'speculate'),
  },
  batching: {
    places: (e) => Math.max(...e.steps.map((s) => s[4].filter((p) => p[1] >= 3).length)),
    'used-continuous': (e) => sum(e.steps.map((s) => s[4].filter((p) => p[1] >= 3).length)),
    'used-static': (e) => sum(e.static.replayed.map((s) => s[4].length)),
    'steps-static': (e) => e.static.replayed.length,
    'time-continuous': (e) => e.steps.at(-1)[1] + e.steps.at(-1)[2] - e.steps[0][1],
    'time-static': (e) => e.static.replayed.at(-1)[1] + e.static.replayed.at(-1)[2],
    'request-time-batching': (e) => ratioOf(e, 'batching'),
  },
  reduction: { 'request-time-reduce': (e) => ratioOf(e, 'reduce') },
  kv: {
    'kv-blocks': (e) => e.kv.blocks,
    'kv-held': (e) => blocks(e, (r) => r[3].length > 0),
    'kv-shared': (e) => blocks(e, (r) => r[3].length > 1),
    'kv-cached': (e) => blocks(e, (r) => r[3].length === 0 && r[1] > 0),
    'reserved-paged': (e) => e.kv.block_tokens * blocks(e, (r) => r[3].length > 0),
    'reserved-contiguous': (e) => e.kv.block_tokens * sum(e.kv.contiguous.regions.map((r) => r[2])),
    'request-time-kv': (e) => ratioOf(e, 'kv'),
  },
  attention: { 'request-time-attention': (e) => ratioOf(e, 'attention') },
};

describe('under traffic', () => {
  test('the figures of each panel are those of the event that they were drawn from', async () => {
    const { page, close } = await open({ hash: 'load', before: keepEvents });
    await traffic(page);
    const moved = {};
    for (const [panel, figures] of Object.entries(PANELS)) {
      await page.evaluate((id) => ((window.told = null), (location.hash = `#/${id}`)), panel);
      const keys = Object.keys(figures);
      await eventually(
        async () => (await page.locator('[data-figure]').count()) > 0 && !(await Promise.all(keys.map((k) => page.locator(`[data-figure="${k}"]`).count()))).includes(0),
        `figures of ${panel}`,
      );
      const seen = [];
      for (let i = 0; i < 6; ++i) {
        const { told, shown } = await moment(page);
        seen.push(told.load.steps);
        for (const key of keys) {
          const wanted = figures[key](told);
          const got = shown[key];
          assert.ok(got, `${panel}: ${key} is not there`);
          if (wanted === null) assert.equal(got.raw, null, `${panel}: ${key}`);
          else assert.ok(Math.abs(got.raw - wanted) <= 1e-6 * Math.max(1, Math.abs(wanted)), `${panel}: ${key} is ${got.raw}, but the server told ${wanted}`);
        }
        for (const key of ['generated', 'steps', 'prefix-hits', 'verifications', 'drafted', 'accepted', 'kv-held', 'places']) {
          if (shown[key]) assert.equal(shown[key].text, shown[key].raw.toLocaleString('en'), key);
        }
        await page.waitForTimeout(300);
      }
      moved[panel] = seen.at(-1) - seen[0];
      if (panel === 'batching') {
        const { told } = await moment(page);
        assert.ok(Math.abs(told.static.busy_ms - sum(told.steps.map(busyMs))) < 1e-6 * told.static.busy_ms);
        assert.ok(told.static.static_ms > 0 && (await page.locator('[data-extent="ms"]').count()) === 1);
      }
    }
    for (const [panel, steps] of Object.entries(moved)) assert.ok(steps > 0, `the server worked while ${panel} was looked at`);
    await stopTraffic(page);
    await close();
  });

  test('counters lie between those of /metrics before and after', async () => {
    const { page, close } = await open({ hash: 'load' });
    await traffic(page);
    await eventually(async () => (await figure(page, 'running')) > 0, 'requests run');
    for (let i = 0; i < 4; ++i) {
      const before = { generated: await at.server.metric('generation_tokens_total'), steps: await at.server.metric('steps_total') };
      await page.waitForTimeout(800); // an event that is newer
      const shown = { generated: await figure(page, 'generated'), steps: await figure(page, 'steps') };
      const after = { generated: await at.server.metric('generation_tokens_total'), steps: await at.server.metric('steps_total') };
      for (const key of ['generated', 'steps']) {
        assert.ok(before[key] <= shown[key] && shown[key] <= after[key], `${key}: ${before[key]} <= ${shown[key]} <= ${after[key]}`);
      }
      assert.ok(after.steps > before.steps);
    }
    await stopTraffic(page);
    await close();
  });
});

describe('speculation, step by step', () => {
  // The drafts that the API's stream told of, and its last words on usage.
  function read(stream) {
    const chunks = stream.split('\n').filter((l) => l.startsWith('data: {')).map((l) => JSON.parse(l.slice(6)));
    return { drafts: chunks.filter((c) => c.millrace?.draft).map((c) => c.millrace.draft), usage: chunks.findLast((c) => c.usage).usage };
  }
  const fates = (d) => [
    ...d.proposed.map((t, i) => [t, i < d.accepted ? 'accepted' : i === d.accepted ? 'rejected' : 'dropped after it']),
    ...(d.next === null ? [] : [[d.next, d.accepted < d.proposed.length ? 'corrected' : 'added']]),
  ];
  const visible = (t) => t.replaceAll('\n', '⏎').replaceAll(' ', '·') || '∅';
  const onScreen = (page) => page.locator('[data-draft] [data-token]').evaluateAll((tokens) => tokens.map((t) => [t.firstChild.data, t.dataset.token]));
  const place = async (page) => Number(await page.locator('[data-draft]').getAttribute('data-draft'));

  for (const drafter of ['lookup', 'suffix']) {
    test(`${drafter}: each draft as the API's stream told of it`, async (t) => {
      const { page, close } = await open({ hash: 'speculation', before: keepEvents });
      await page.selectOption('#traffic-clients', '1'); // beside more, plain steps are quicker, and nothing is drafted
      await traffic(page);
      await page.selectOption('#drafter', drafter);
      let told;
      const all = new Set();
      const complete = () => told?.drafts.length > 1 && all.has('accepted') && all.has('rejected') && all.has('corrected');
      let busy = true;
      for (let i = 0; i < 48 && !complete(); ++i) {
        if (i === 16) {
          // The controller, which rules fixed drafters, too, finds none worth it beside others: then alone.
          await stopTraffic(page);
          busy = false;
        }
        all.clear();
        await page.evaluate(() => (window.explained = null));
        await page.getByRole('button', { name: 'Ask and show' }).click();
        told = read(await eventually(() => page.evaluate(() => window.explained), 'an answer'));
        for (const d of told.drafts) fates(d).forEach(([, fate]) => all.add(fate));
      }
      if (!complete()) {
        if (busy) await stopTraffic(page);
        await close();
        return t.skip(`on this machine the controller finds no draft of ${drafter} worth its time`);
      }
      assert.ok(told.drafts.every((d) => d.drafter === drafter));
      await eventually(async () => (await figure(page, 'draft-steps')) === told.drafts.length, 'all drafts have come');

      // Pause holds it, whatever comes; by keyboard to the first, and from there to the last.
      await page.waitForSelector('[data-draft]');
      await page.getByRole('button', { name: 'Pause' }).click();
      const held = await place(page);
      await page.waitForTimeout(900);
      assert.equal(await place(page), held);
      const back = page.getByRole('button', { name: 'Back' });
      while ((await place(page)) > 1) await back.press('Enter');
      for (const [i, draft] of told.drafts.entries()) {
        await eventually(async () => (await place(page)) === i + 1, `draft ${i + 1}`);
        assert.deepEqual(await onScreen(page), fates(draft).map(([t, fate]) => [visible(t), fate]), `draft ${i + 1}`);
        assert.match(await page.textContent('main'), new RegExp(`${drafter} proposed ${draft.proposed.length}, ${draft.accepted} stayed`));
        if (i + 1 < told.drafts.length) await page.getByRole('button', { name: 'Next' }).press('Enter');
      }
      assert.ok(await page.getByRole('button', { name: 'Next' }).isDisabled());
      // The sums of the ledger are those of the drafts.
      const drafted = sum(told.drafts.map((d) => d.proposed.length));
      const accepted = sum(told.drafts.map((d) => d.accepted));
      assert.deepEqual([told.usage.millrace.drafted_tokens, told.usage.millrace.accepted_tokens], [drafted, accepted]);
      assert.match(await page.textContent('main'), new RegExp(`${accepted} of ${drafted} drafted tokens stayed`));
      // Play goes on from where one looks.
      await back.press('Enter');
      await page.getByRole('button', { name: 'Play' }).click();
      await eventually(async () => (await place(page)) === told.drafts.length, 'it plays to the end');
      if (busy) await stopTraffic(page);
      // Acceptance by place, as /metrics counts it.
      const lines = (await (await fetch(`${at.server.at}/metrics`)).text()).split('\n');
      const byPlace = lines.filter((l) => /^millrace:speculation_accepted_tokens_per_pos_total\{/.test(l)).map((l) => Number(l.split(' ').at(-1)));
      await eventually(
        async () => sum(await page.locator('[data-place]').evaluateAll((rows) => rows.map((r) => Number(r.dataset.raw)))) === sum(byPlace),
        'acceptance by place',
      );
      await close();
    });
  }
});
