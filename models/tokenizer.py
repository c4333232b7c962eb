"""The demo models' tokenizer: byte-level BPE of 2,048 tokens in the manner of GPT-2, learned on corpus.py.

Texts are cut by the qwen2 pattern (which the GGUF names, so that every reader cuts alike), then merged by rank.
"""
import collections
import json
import os
import random

import regex

import corpus

PATTERN = regex.compile(
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 2048
SPARE = 32  # unused tokens, so that a later corpus may have tokens of its own in the same shape
SPACE = "\u0120"  # how a space is written in a token


def byte_symbols():
    """GPT-2's table: each of the 256 bytes as one printable character."""
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + i) for i, b in enumerate(rest)}


SYMBOL = byte_symbols()


class Tokenizer:
    """Text to ids. Tokens: the 256 bytes, one for each merge, unused ones, the control tokens last."""

    def __init__(self, merges):
        self.merges = merges
        self.rank = {tuple(m): i for i, m in enumerate(merges)}
        self.tokens = [SYMBOL[b] for b in range(256)] + ["".join(m) for m in merges]
        self.tokens += [f"<|unused{i}|>" for i in range(VOCABULARY - len(self.tokens) - len(CONTROL))] + CONTROL
        self.id = {t: i for i, t in enumerate(self.tokens)}
        self.cache = {}

    def word(self, w):
        """The ids of one piece of the pattern: its bytes, joined pair by pair in the order of rank."""
        if w in self.cache:
            return self.cache[w]
        parts = [SYMBOL[b] for b in w.encode()]
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda i: self.rank.get((parts[i], parts[i + 1]), 1 << 30))
            if (parts[best], parts[best + 1]) not in self.rank:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        ids = [self.id[p] for p in parts]
        if len(self.cache) < 200000:  # names are invented without end; the cache is not to follow them
            self.cache[w] = ids
        return ids

    def encode(self, text):
        """The ids of a text in which <|im_start|> and <|im_end|> are control tokens."""
        out = []
        for piece in regex.split(r"(<\|im_start\|>|<\|im_end\|>)", text):
            if piece in CONTROL:
                out.append(self.id[piece])
            else:
                for w in PATTERN.findall(piece):
                    out.extend(self.word(w))
        return out

    def starts(self, ids):
        """Where each token begins in its text (all of it ASCII), and where the last one ends."""
        out = [0]
        for i in ids:
            out.append(out[-1] + len(self.tokens[i]))
        return out


def load(path):
    """The tokenizer of the merges at `path`, which are learned first where there is no such file."""
    if not os.path.exists(path):
        with open(path, "w") as f:
            json.dump(learn_merges(count_words(12000)), f, ensure_ascii=False)
    with open(path) as f:
        return Tokenizer(json.load(f))


def count_words(examples):
    """How often each piece of the pattern occurs in that many conversations."""
    r, counts = random.Random(0), collections.Counter()
    for _ in range(examples):
        head, turns = corpus.chat(corpus.example(r))
        for text in [head] + [t for pair in turns for t in pair]:
            counts.update(PATTERN.findall(regex.sub(r"<\|im_(start|end)\|>", "", text)))
    return counts


def learn_merges(counts):
    """Byte pair encoding (Sennrich et al., 2016): joins the most frequent pair again and again.

    Counts of pairs are kept up to date word by word, as only words that hold the pair change.
    """
    words = {w: [SYMBOL[b] for b in w.encode()] for w in counts}
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for w, parts in words.items():
        for pair in zip(parts, parts[1:]):
            pairs[pair] += counts[w]
            where[pair].add(w)
    merges = []
    while len(merges) < VOCABULARY - 256 - len(CONTROL) - SPARE:
        top = max(pairs, key=lambda k: (pairs[k], k))
        merges.append(list(top))
        for w in list(where.pop(top)):
            for pair in zip(words[w], words[w][1:]):
                pairs[pair] -= counts[w]
            words[w] = joined(words[w], top)
            for pair in zip(words[w], words[w][1:]):
                pairs[pair] += counts[w]
                where[pair].add(w)
        del pairs[top]
    return merges


def joined(parts, pair):
    """The parts with every occurrence of the pair made one part."""
    out, i = [], 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out
