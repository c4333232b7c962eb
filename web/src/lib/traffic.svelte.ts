// Sample traffic: a few clients that ask one question after another, so that there is something to see.
import { wait } from './api';
import { wholeChat } from './chat';
import { session } from './session.svelte';
import type { Sample } from './types';

const ELSE: Sample[] = ['Name three rivers.', 'What is a mill race?', 'Count from one to ten.', 'Write a short poem about water.'].map(
  (content) => ({ messages: [{ role: 'user', content }], documents: [], expected: '' }),
);

class Traffic {
  on = $state(false);
  clients = $state(6);
  sent = $state(0);
  failed = $state(0);
  #abort: AbortController | null = null;

  get samples(): Sample[] {
    return session.samples.length > 0 ? session.samples : ELSE;
  }

  toggle() {
    if (this.on) return this.stop();
    this.on = true;
    this.#abort = new AbortController();
    for (let i = 0; i < this.clients; ++i) void this.#run(i, this.#abort.signal);
  }
  stop() {
    this.on = false;
    this.#abort?.abort();
    this.#abort = null;
  }

  async #run(client: number, signal: AbortSignal) {
    const samples = this.samples;
    for (let at = (client * 7) % samples.length; !signal.aborted; at = (at + 1) % samples.length) {
      const sample = samples[at]!;
      try {
        ++this.sent;
        // Of different lengths, as real answers are.
        await wholeChat(
          {
            messages: sample.messages,
            ...(sample.documents.length > 0 ? { documents: sample.documents } : {}),
            max_completion_tokens: 16 + ((at * 29) % 96),
            temperature: 0,
            ignore_eos: true,
            // Every other one is new to the prefix cache.
            millrace: this.sent % 2 === 0 ? { prefix_cache: false } : {},
          },
          signal,
        );
      } catch {
        if (signal.aborted) return;
        ++this.failed;
        await wait(500);
      }
    }
  }
}

export const traffic = new Traffic();
