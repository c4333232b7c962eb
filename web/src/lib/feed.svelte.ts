// The one event stream, as what the panels read. Every list is bounded.
import { call, eventsOf, wait } from './api';
import type { EndedRequest, FeedEvent, Insights, KvPicture, Load, MeasureState, PrefixRun, StaticReplay, Step } from './types';

const KEPT_POINTS = 240; // a minute
const KEPT_REQUESTS = 64;

export interface Point {
  at: number; // seconds since the server's start
  generated: number; // tokens a second since the point before
  computed: number;
  running: number;
  waiting: number;
  held: number; // share of KV blocks, 0 to 1
}

class Feed {
  connected = $state(false);
  problem = $state('');
  now = $state(0);
  load = $state.raw<Load | null>(null);
  insights = $state.raw<Insights | null>(null);
  steps = $state.raw<Step[]>([]);
  names = $state.raw<Record<string, string>>({});
  replay = $state.raw<StaticReplay | null>(null);
  kv = $state.raw<KvPicture | null>(null);
  prefixes = $state.raw<{ runs: PrefixRun[]; left_out: number } | null>(null);
  ended = $state.raw<EndedRequest[]>([]);
  points = $state.raw<Point[]>([]);
  measure = $state.raw<MeasureState | null>(null);

  #topics = '';
  #abort: AbortController | null = null;

  // Watches with these topics from now on.
  watch(topics: string) {
    if (this.#abort && topics === this.#topics) return;
    this.#topics = topics;
    this.#abort?.abort();
    this.#abort = new AbortController();
    void this.#run(topics, this.#abort.signal);
  }
  stop() {
    this.#abort?.abort();
    this.#abort = null;
  }

  async #run(topics: string, signal: AbortSignal) {
    while (!signal.aborted) {
      try {
        const response = await call(`/debug/events?topics=${topics}`, { signal });
        for await (const data of eventsOf(response)) {
          if (signal.aborted) return;
          this.connected = true;
          this.problem = '';
          this.#take(JSON.parse(data) as FeedEvent);
        }
        this.problem = 'The server ended the stream.';
      } catch (error) {
        if (signal.aborted) return;
        this.problem = error instanceof Error ? error.message : String(error);
      }
      this.connected = false;
      await wait(1000);
    }
  }

  #take(event: FeedEvent) {
    const last = this.points.at(-1);
    const before = this.load;
    const at = event.now_ms / 1000;
    if (last && at < last.at) this.#forget(); // another server
    if (!last || !before || at > last.at) {
      const seconds = last ? at - last.at : 0;
      const rate = (now: number, then: number | undefined) =>
        seconds > 0 && then !== undefined ? Math.max(0, now - then) / seconds : 0;
      const l = event.load;
      const point: Point = {
        at,
        generated: rate(l.generated_tokens, before?.generated_tokens),
        computed: rate(l.computed_tokens, before?.computed_tokens),
        running: l.running,
        waiting: l.waiting,
        held: l.blocks_total > 0 ? l.blocks_held / l.blocks_total : 0,
      };
      this.points = [...this.points, point].slice(-KEPT_POINTS);
    }
    this.now = event.now_ms;
    this.load = event.load;
    this.insights = event.insights;
    if (event.steps) this.steps = event.steps;
    if (event.names) this.names = event.names;
    if (event.static) this.replay = event.static;
    if (event.kv) this.kv = event.kv;
    if (event.prefixes) this.prefixes = event.prefixes;
    if (event.measure) this.measure = event.measure;
    if (event.ended) {
      const newest = this.ended.at(-1)?.serial ?? 0;
      const more = event.ended.filter((e) => e.serial > newest);
      if (more.length > 0) this.ended = [...this.ended, ...more].slice(-KEPT_REQUESTS);
    }
  }

  #forget() {
    this.points = [];
    this.ended = [];
    this.load = null;
    this.steps = [];
    this.kv = null;
    this.prefixes = null;
  }
}

export const feed = new Feed();
