// What the whole page shares: the server's facts, whether it wants a key, which panel is open.
import { getJson, onRefused, setKey } from './api';
import type { About, Sample } from './types';

class Session {
  about = $state.raw<About | null>(null);
  samples = $state.raw<Sample[]>([]);
  needsKey = $state(false);
  keyRefused = $state(false);
  problem = $state('');
  #tried = false;

  constructor() {
    onRefused(() => {
      this.needsKey = true;
      this.keyRefused = this.#tried;
    });
  }

  async open(key?: string) {
    if (key !== undefined) {
      setKey(key);
      this.#tried = true;
      this.needsKey = false;
    }
    try {
      const [about, samples] = await Promise.all([getJson<About>('/debug/about'), getJson<Sample[]>('/debug/samples')]);
      this.samples = samples; // before the panels are shown
      this.about = about;
      this.problem = '';
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }
}

export const session = new Session();
