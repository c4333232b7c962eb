// One chat request, streamed or whole.
import { ApiError, call, eventsOf, postJson } from './api';
import type { Citation, DraftStep, Message, Passage, Usage } from './types';

export interface Switches {
  prefix_cache?: boolean;
  speculate?: string;
  reduce?: string;
  explain?: boolean;
  store?: string;
}

export interface ChatBody {
  messages: Message[];
  documents?: (Passage | string)[];
  max_completion_tokens?: number;
  temperature?: number;
  cache_salt?: string;
  ignore_eos?: boolean;
  millrace?: Switches;
}

interface Chunk {
  id?: string;
  choices?: {
    delta?: { content?: string; annotations?: { file_citation: Citation }[] };
    finish_reason?: string | null;
  }[];
  usage?: Usage | null;
  millrace?: { draft?: DraftStep };
  error?: { message: string };
}

export interface Listener {
  text?: (piece: string) => void;
  citations?: (found: Citation[]) => void;
  draft?: (step: DraftStep) => void;
  usage?: (usage: Usage, finish: string) => void;
}

export async function streamChat(body: ChatBody, listener: Listener, signal?: AbortSignal): Promise<void> {
  const response = await call('/v1/chat/completions', {
    method: 'POST',
    signal,
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  let finish = '';
  let done = false;
  for await (const data of eventsOf(response)) {
    if (data === '[DONE]') {
      done = true;
      break;
    }
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new ApiError(chunk.error.message, 500);
    if (chunk.millrace?.draft) listener.draft?.(chunk.millrace.draft);
    const choice = chunk.choices?.[0];
    if (choice?.delta?.content) listener.text?.(choice.delta.content);
    if (choice?.delta?.annotations) listener.citations?.(choice.delta.annotations.map((a) => a.file_citation));
    if (choice?.finish_reason) finish = choice.finish_reason;
    if (chunk.usage) listener.usage?.(chunk.usage, finish);
  }
  if (!done) throw new ApiError('The answer broke off.', 500);
}

export interface WholeAnswer {
  id: string;
  choices: { message: { content: string }; finish_reason: string }[];
  usage: Usage;
}
export function wholeChat(body: ChatBody, signal?: AbortSignal): Promise<WholeAnswer> {
  return postJson<WholeAnswer>('/v1/chat/completions', body, signal);
}
