// The text of a passage that an answer names: one that went along with the question, or one in a store.
import { getJson } from './api';
import type { Turn } from './conversation.svelte';

export interface Named {
  number: number; // in the prompt
  id: string | null; // of its document
  title: string;
  document: number; // in the request
}

interface StoredText {
  data: { text: string; begin: number }[];
}

// Of a store's document, the passage that the answer's ledger says was kept under that number.
async function storedText(turn: Turn, named: Named): Promise<string> {
  const begin = turn.usage?.millrace.reduction?.kept.find((k) => k.number === named.number)?.begin;
  const path = `/v1/vector_stores/${encodeURIComponent(turn.store)}/files/${encodeURIComponent(named.id ?? '')}/content`;
  const content = await getJson<StoredText>(path);
  const found = content.data.find((p) => p.begin === begin);
  if (!found) throw new Error('The store does not hold this passage any more.');
  return found.text;
}

export async function textOf(turn: Turn, named: Named): Promise<string> {
  if (turn.store) return storedText(turn, named);
  const passage = turn.passages[named.document];
  if (!passage) throw new Error('No such passage went along with the question.');
  return passage.text;
}
