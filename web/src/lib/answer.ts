// An answer's text in pieces: words, and citations that open their passage. Citations count code points.
import type { Citation } from './types';

export interface Piece {
  text: string;
  citation?: Citation;
}

export function piecesOf(text: string, citations: Citation[]): Piece[] {
  const characters = Array.from(text);
  const pieces: Piece[] = [];
  let at = 0;
  let last: Citation | undefined;
  for (const c of [...citations].sort((a, b) => a.start_index - b.start_index)) {
    if (last && c.start_index === last.start_index) {
      // "[1, 3]": one place in the text, two passages.
      pieces.push({ text: `[${c.number}]`, citation: c });
      continue;
    }
    if (c.start_index < at || c.end_index > characters.length) continue;
    if (c.start_index > at) pieces.push({ text: characters.slice(at, c.start_index).join('') });
    pieces.push({ text: `[${c.number}]`, citation: c });
    at = c.end_index;
    last = c;
  }
  if (at < characters.length) pieces.push({ text: characters.slice(at).join('') });
  return pieces;
}

// Passages of a pasted text: an empty line between two.
export function passagesOf(text: string): string[] {
  return text
    .split(/\n\s*\n/)
    .map((p) => p.trim())
    .filter((p) => p.length > 0);
}
