// The panels, in the order of the menu.
import type { Component } from 'svelte';
import Attention from './panels/Attention.svelte';
import Batching from './panels/Batching.svelte';
import Chat from './panels/Chat.svelte';
import Kv from './panels/Kv.svelte';
import Load from './panels/Load.svelte';
import Prefixes from './panels/Prefixes.svelte';
import Quantization from './panels/Quantization.svelte';
import Reduction from './panels/Reduction.svelte';
import Reports from './panels/Reports.svelte';
import Speculation from './panels/Speculation.svelte';

export interface PanelEntry {
  id: string;
  name: string;
  number?: number; // of the optimisation
  topics: string; // of the event stream, beside the load
  component: Component;
}

export const panels: PanelEntry[] = [
  { id: 'chat', name: 'Chat', topics: '', component: Chat },
  { id: 'load', name: 'Live load', topics: '', component: Load },
  { id: 'prefix-cache', name: 'Prefix cache', number: 1, topics: 'prefixes', component: Prefixes },
  { id: 'speculation', name: 'Speculation', number: 2, topics: '', component: Speculation },
  { id: 'batching', name: 'Continuous batching', number: 3, topics: 'steps', component: Batching },
  { id: 'reduction', name: 'Prompt reduction', number: 4, topics: '', component: Reduction },
  { id: 'kv', name: 'Paged KV', number: 5, topics: 'kv', component: Kv },
  { id: 'attention', name: 'Attention', number: 6, topics: '', component: Attention },
  { id: 'quantization', name: 'Quantization', number: 7, topics: '', component: Quantization },
  { id: 'measure', name: 'Measurements', topics: '', component: Reports },
];
