// What the server tells, in its own shapes (src/openai_api/feed_json.h). Times in milliseconds.

export interface About {
  version: string;
  model: string;
  chat: boolean;
  context_length: number;
  max_running: number;
  max_step_tokens: number;
  block_tokens: number;
  architecture: string;
  parameters: number;
  weight_bytes: number;
  layers: number;
  heads: number;
  kv_heads: number;
  head_dim: number;
  stores: string[];
  switches: Record<string, string>;
}

export interface Figures {
  count: number;
  p50: number | null;
  p90: number | null;
  p95: number | null;
  p99: number | null;
  most: number | null;
}

export interface SpeculationFigures {
  verifications: number;
  verified_tokens: number;
  drafting_ms: number;
  verifying_ms: number;
  saved_ms: number;
  drafters: Record<string, [drafted: number, accepted: number]>;
  drafted_at: number[];
  accepted_at: number[];
}

export interface Load {
  running: number;
  waiting: number;
  blocks_total: number;
  blocks_held: number;
  blocks_cached: number;
  blocks_pinned: number;
  kv_bytes: number;
  steps: number;
  computed_tokens: number;
  prompt_tokens: number;
  generated_tokens: number;
  preemptions: number;
  deadlines_missed: number;
  prefix_queries: number;
  prefix_hits: number;
  prefix_evictions: number;
  attention_seconds: number;
  attention_bytes: number;
  ended: Record<string, number>;
  first_token: Figures;
  between_tokens: Figures;
  speculation: SpeculationFigures;
}

export enum PartKind {
  Queued,
  Preempted,
  Idle,
  Prefill,
  Decode,
}
export type StepPart = [
  request: number,
  kind: PartKind,
  tokens: number,
  drafted: number,
  emitted: number,
  cached: number,
  finished: number,
];
export type Step = [number: number, begin: number, ms: number, waiting: number, parts: StepPart[]];

export interface StaticReplay {
  places: number;
  steps: number;
  busy: number;
  static_steps: number;
  static_busy: number;
  ms: number; // of the window
  busy_ms: number; // the same places, each for as long as its step took
  static_ms: number; // 0: no step times have been measured
  static_busy_ms: number;
  replayed: Step[];
}

export type BlockRun = [blocks: number, state: number, filled: number, requests: number[]];
export interface KvPicture {
  layout: 'paged' | 'contiguous';
  block_tokens: number;
  blocks: number;
  runs: BlockRun[];
  held_slots: number;
  filled_slots: number;
  sequences: [request: number, computed: number, most: number][];
  contiguous: {
    blocks: number;
    regions: [request: number, first: number, blocks: number, filled: number][];
    no_room: number[];
    reserved_slots: number;
    filled_slots: number;
    unusable_blocks: number;
  };
}

export type PrefixRun = [
  before: number | null,
  tokens: number,
  blocks: number,
  in_use: number,
  pinned: number,
  used: number,
  text: string | null,
];

export interface Ledger {
  queued_ms: number;
  prefill_ms: number;
  decode_ms: number;
  computed_tokens: number;
  cached_tokens: number;
  cached_saved_ms: number;
  preemptions: number;
  recomputed_tokens: number;
  recomputed_cost_ms: number;
  drafted_tokens: number;
  accepted_tokens: number;
  speculation_saved_ms: number;
  dropped_passages: number;
  dropped_passage_tokens: number;
  reduction_ms: number;
  reduction_saved_ms: number;
}

export interface EndedRequest {
  serial: number;
  id: string;
  end: string;
  status: number;
  arrival_ms: number;
  total_ms: number;
  first_token_ms: number;
  finish: string;
  prompt_tokens: number;
  completion_tokens: number;
  ledger: Ledger;
}

export interface FeedEvent {
  now_ms: number;
  load: Load;
  insights: Insights;
  steps?: Step[];
  names?: Record<string, string>;
  static?: StaticReplay;
  kv?: KvPicture;
  prefixes?: { runs: PrefixRun[]; left_out: number };
  ended?: EndedRequest[];
  measure?: MeasureState;
}

export interface Saving {
  name: string;
  switch: string;
  saved_ms: number;
  ratio: number | null;
  by: string;
}
export interface InsightSum {
  seconds: number;
  requests: number;
  computing_ms: number;
  optimisations: Saving[];
}
// Requests' time with an optimisation, by that without it.
export interface RequestTime {
  name: string;
  switch: string;
  ratio: number;
  requests: number;
  by: string;
}
export interface Insights {
  now: InsightSum;
  since_start: InsightSum;
  request_time: RequestTime[];
  note: string;
}

export interface MeasureState {
  state: 'idle' | 'running' | 'done' | 'failed' | 'cancelled';
  switches: string[];
  done: number;
  total: number;
  progress: string;
  message: string;
  serial: number;
}

export interface KeptPassage {
  number: number;
  id: string | null;
  document: number;
  begin: number;
  score: number;
  why: string;
  tokens: number;
}
export interface Reduction {
  mode: string;
  passages: number;
  kept: KeptPassage[];
  dropped: Record<string, number>;
  tokens_before: number;
  tokens_after: number;
  best_dropped_score: number;
  margin: number | null;
}
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
  millrace: Ledger & { reduction?: Reduction };
}

export interface Citation {
  start_index: number;
  end_index: number;
  number: number;
  file_id: string | null;
  filename: string;
  index: number;
}

export interface DraftStep {
  drafter: string;
  proposed: string[];
  accepted: number;
  next: string | null;
  drafting_ms: number;
  verifying_ms: number;
}

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}
export interface Passage {
  title: string;
  text: string;
}
export interface Sample {
  messages: Message[];
  documents: string[];
  expected: string;
}
