// The table of `millrace compare --json`.
export interface Quality {
  perplexity: number;
  kl_mean?: number;
  [name: string]: unknown;
}
export interface ComparedModel {
  model: string;
  precision: string;
  file_bytes: number;
  memory_bytes: number;
  prefill_tokens_per_second: number;
  decode_tokens_per_second: number;
  quality?: Record<string, unknown>;
  task?: { questions: number; exact_match: number; exact_match_interval: [number, number] };
  flips?: { lost: number; gained: number; mcnemar_p: number };
  verdict: string;
}
export interface Comparison {
  rules: string;
  models: ComparedModel[];
  note?: string;
}

export function isComparison(value: unknown): value is Comparison {
  const c = value as Comparison;
  return typeof c === 'object' && c !== null && Array.isArray(c.models) && c.models.every((m) => typeof m.model === 'string' && typeof m.file_bytes === 'number');
}
