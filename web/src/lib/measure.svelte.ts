// Measurements that the server runs beside itself, and the reports that are open.
import { call, getJson, postJson } from './api';
import { feed } from './feed.svelte';
import type { MeasureState } from './types';

export interface MetricFinding {
  metric: string;
  baseline: number;
  candidate: number;
  ratio: number | null;
  interval_95: [number | null, number | null];
  rounds: number;
  verdict: string | null;
}
export interface Finding {
  subject: string;
  candidate: string;
  baseline: string;
  failures: number;
  metrics: MetricFinding[];
  answers: { answers: number; differing: number; promised_equal: boolean; first_difference: string };
}
export interface Report {
  workload: string;
  model: string;
  replay: string;
  confirmed: boolean;
  stage: string;
  rules: string[];
  notes: string[];
  metrics: Record<string, { label: string; unit: string; formula: string }>;
  same_against_itself: Finding;
  same_is_null: boolean;
  deviation_between_rounds: number;
  detectable_effect: number | null;
  switches: Finding[];
  candidates: Finding[];
  recommended: string;
  reasons: string[];
  recommended_toml: string;
  machine: Record<string, string>;
}

class Measure {
  problem = $state('');
  asking = $state(false);
  report = $state.raw<Report | null>(null); // of the last measurement that is done
  #of = 0;

  get state(): MeasureState | null {
    return feed.measure;
  }
  get running(): boolean {
    return this.state?.state === 'running';
  }

  async start(switches: string[], minutes: number) {
    await this.#try(async () => {
      feed.measure = await postJson<MeasureState>('/debug/measure', { switches, minutes });
    });
  }
  async cancel() {
    await this.#try(async () => {
      feed.measure = (await (await call('/debug/measure', { method: 'DELETE' })).json()) as MeasureState;
    });
  }
  // Fetches the report once the stream says that one is done.
  async look() {
    const state = this.state;
    if (state?.state !== 'done' || state.serial === this.#of) return;
    this.#of = state.serial;
    await this.#try(async () => {
      this.report = (await getJson<MeasureState & { report?: Report }>('/debug/measure')).report ?? null;
    });
  }

  async #try(work: () => Promise<void>) {
    this.asking = true;
    this.problem = '';
    try {
      await work();
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
    this.asking = false;
  }
}

export const measure = new Measure();
