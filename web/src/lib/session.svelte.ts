// What the whole page shares: the server's facts, whether it wants a key, which panel is open.
import { getJson, onRefused, setKey } from './api';
import type { About, Sample } from './types';

class Session {
  about = $state.raw<About | null>(null);
  samples = $state.raw<Sample[]>([]);
  stores = $state.raw<string[]>([]); // of passages
  needsKey = $state(false);
  keyRefused = $state(false);
  problem = $state('');
  #tried = false;

  // Requests make and delete stores in the server's folder.
  async lookForStores() {
    try {
      const list = await getJson<{ data: { name: string }[] }>('/v1/vector_stores');
      this.stores = list.data.map((s) => s.name);
    } catch {
      this.stores = this.about?.stores ?? [];
    }
  }

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
      this.stores = about.stores;
      this.problem = '';
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }
}

export const session = new Session();
