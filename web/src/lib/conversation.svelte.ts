// The chat: what was said, with what came of it. Kept while the page is open, whichever panel is shown.
import { streamChat, type ChatBody, type Switches } from './chat';
import { passagesOf } from './answer';
import type { Citation, DraftStep, Message, Passage, Usage } from './types';

export interface Turn {
  question: string;
  answer: string;
  citations: Citation[];
  passages: Passage[];
  store: string; // that was asked; empty: none
  drafts: DraftStep[];
  usage: Usage | null;
  finish: string;
  problem: string;
  expected: string;
  ms: number; // as this page saw it
}

const KEPT_TURNS = 50;
const KEPT_DRAFTS = 2000;

class Conversation {
  turns = $state<Turn[]>([]);
  busy = $state(false);
  // The form.
  system = $state('');
  question = $state('');
  pasted = $state('');
  files = $state<Passage[]>([]);
  store = $state('');
  follow = $state(false); // earlier turns go along
  maxTokens = $state(128);
  temperature = $state(0);
  switches = $state<{ prefix: string; speculate: string; reduce: string; explain: boolean }>({
    prefix: '',
    speculate: '',
    reduce: '',
    explain: false,
  });
  expected = '';
  #abort: AbortController | null = null;

  get passages(): Passage[] {
    return [...passagesOf(this.pasted).map((text) => ({ title: '', text })), ...$state.snapshot(this.files)];
  }

  stop() {
    this.#abort?.abort();
  }
  clear() {
    this.stop();
    this.turns = [];
  }

  async ask() {
    const question = this.question.trim();
    if (!question || this.busy) return;
    const passages = this.store ? [] : this.passages;
    this.turns.push({
      question, answer: '', citations: [], passages, store: this.store, drafts: [], usage: null, finish: '', problem: '',
      expected: this.expected, ms: 0,
    });
    if (this.turns.length > KEPT_TURNS) this.turns.shift();
    const turn = this.turns.at(-1)!;
    const body = this.#body(question, passages);
    this.question = '';
    this.expected = '';
    this.busy = true;
    this.#abort = new AbortController();
    const begin = performance.now();
    try {
      await streamChat(
        body,
        {
          text: (piece) => (turn.answer += piece),
          citations: (found) => turn.citations.push(...found),
          draft: (step) => turn.drafts.length < KEPT_DRAFTS && turn.drafts.push(step),
          usage: (usage, finish) => {
            turn.usage = usage;
            turn.finish = finish;
          },
        },
        this.#abort.signal,
      );
    } catch (error) {
      turn.problem = this.#abort.signal.aborted ? 'Stopped.' : error instanceof Error ? error.message : String(error);
    }
    turn.ms = performance.now() - begin;
    this.busy = false;
  }

  #body(question: string, passages: Passage[]): ChatBody {
    const messages: Message[] = this.system.trim() ? [{ role: 'system', content: this.system }] : [];
    if (this.follow) {
      for (const t of this.turns.slice(0, -1)) {
        if (t.problem) continue;
        messages.push({ role: 'user', content: t.question }, { role: 'assistant', content: t.answer });
      }
    }
    messages.push({ role: 'user', content: question });
    const own: Switches = {};
    const s = this.switches;
    if (s.prefix) own.prefix_cache = s.prefix === 'on';
    if (s.speculate) own.speculate = s.speculate;
    if (s.reduce) own.reduce = s.reduce;
    if (s.explain) own.explain = true;
    if (this.store) own.store = this.store;
    const documents = passages.map((p) => (p.title ? p : p.text));
    return {
      messages,
      ...(documents.length > 0 ? { documents } : {}),
      max_completion_tokens: this.maxTokens,
      temperature: this.temperature,
      millrace: own,
    };
  }
}

export const conversation = new Conversation();
