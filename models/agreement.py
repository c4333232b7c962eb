#!/usr/bin/env python3
"""Measures how often the draft's greedy token is the target's: what speculative decoding can accept at most.

    agreement.py --millrace build/dev/apps/millrace --passages 1,4,8 --questions 100 [--json]

For each held-out question the target answers greedily (millrace run). Then the draft reads the prompt with that whole
answer (millrace inspect --logits), and its most likely token at each position of the answer is compared with the
target's. Tokens count, <|im_end|> among them. Intervals are Wilson's at 95 %; tokens of one answer are not
independent, so the one of whole answers is the honest one. Standard library only.
"""
import argparse
import array
import collections
import concurrent.futures
import json
import os
import random
import subprocess
import sys
import tempfile

import corpus
from evaluate import HELD_OUT_SEED, wilson

HERE = os.path.dirname(os.path.abspath(__file__))
END = "<|im_end|>"
PARTS = ("frame", "name", "value", "citation", "refusal", "end")


def millrace(a, *arguments, text=None):
    """Runs a verb on one thread and returns what it prints."""
    command = [a.millrace, *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=os.environ | {"MILLRACE_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)[:200]}: {done.stderr.strip()}")
    return done.stdout


def encode(a, text):
    return json.loads(millrace(a, "tokenize", a.target, "--json", "--parse-special", text=text))["ids"]


def listed(ids):
    return ",".join(map(str, ids))


def draft_choices(a, ids, first):
    """The draft's most likely token after each of ids[first-1], ids[first], ... up to the last but one."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "logits")
        millrace(a, "inspect", a.draft, "--logits", path, "--tokens", listed(ids))
        logits = array.array("f")
        with open(path, "rb") as f:
            logits.frombytes(f.read())
    vocabulary = len(logits) // len(ids)
    rows = (logits[i * vocabulary : (i + 1) * vocabulary] for i in range(first - 1, len(ids) - 1))
    return [max(range(vocabulary), key=row.__getitem__) for row in rows]


def parts_of(a, answer):
    """Which part of an answer each of its tokens belongs to: one name of PARTS per token."""
    pieces = [millrace(a, "tokenize", a.target, "--decode", text=str(i)) for i in answer]
    text, out = "".join(pieces), []
    if text.startswith(corpus.ABSENT):
        return ["end" if p == END else "refusal" for p in pieces]
    name, value, mark = text.find(" of ") + 3, text.find(" is ") + 3, text.find(". [")
    at = 0
    for p in pieces:
        middle = at + len(p.rstrip()) - 1  # a token's last letter: its leading space belongs to the word
        known = [(mark, "citation"), (value, "value"), (value - 3, "frame"), (name, "name"), (0, "frame")]
        out.append("end" if p == END else next(kind for start, kind in known if middle >= start))
        at += len(p)
    return out


def measure(a, passages, seed):
    """One question: [(part, place in the answer, agreed)] for each token, and whether the target was right."""
    example = corpus.example(random.Random(seed), passages, 1)
    head, [(question, gold)] = corpus.chat(example)
    prompt = encode(a, head + question)
    answer = json.loads(millrace(a, "run", a.target, "--json", "--max-tokens", 64, "--tokens", listed(prompt)))["ids"]
    end = a.end_id
    if answer[-1] != end:
        answer.append(end)
    chosen = draft_choices(a, prompt + answer, len(prompt))
    tokens = [(part, i, x == y) for i, (part, x, y) in enumerate(zip(parts_of(a, answer), answer, chosen))]
    return tokens, answer == encode(a, gold)


def share(flags):
    """How many of the flags are set, with the interval."""
    flags = list(flags)
    if not flags:
        return None
    low, high = wilson(sum(flags), len(flags))
    return {"share": round(sum(flags) / len(flags), 3), "of": len(flags), "low": round(low, 3), "high": round(high, 3)}


def summary(rows):
    """Shares by part and by place, of whole answers, and the mean run of agreed tokens from a place on (at most 4)."""
    tokens = [t for answer, _ in rows for t in answer]
    by_place = collections.defaultdict(list)
    for _, i, ok in tokens:
        by_place[i].append(ok)
    runs = []
    for answer, _ in rows:
        good = [ok for _, _, ok in answer]
        runs += [next((j for j, ok in enumerate(good[i : i + 4]) if not ok), len(good[i : i + 4])) for i in range(len(good))]
    return {
        "tokens": share(ok for _, _, ok in tokens),
        "answers": share(all(ok for _, _, ok in answer) for answer, _ in rows),
        "target_right": share(right for _, right in rows),
        "mean_run_of_4": round(sum(runs) / len(runs), 2),
        "parts": {p: share(ok for q, _, ok in tokens if q == p) for p in PARTS},
        "places": {i: round(sum(x) / len(x), 3) for i, x in sorted(by_place.items())},
    }


def show(name, s):
    spell = lambda x: "none" if x is None else f"{x['share']:.3f} ({x['low']:.3f} to {x['high']:.3f}, {x['of']})"
    print(f"{name}: tokens {spell(s['tokens'])}, whole answers {spell(s['answers'])}, target right {spell(s['target_right'])}")
    print("  " + ", ".join(f"{p} {x['share']:.3f}" for p, x in s["parts"].items() if x) + f"; mean run of 4: {s['mean_run_of_4']}")
    print("  by place: " + " ".join(f"{i}:{x:.2f}" for i, x in s["places"].items()))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--millrace", default=os.path.join(HERE, "../build/dev/apps/millrace"))
    p.add_argument("--target", default=os.path.join(HERE, "evidence-target.gguf"))
    p.add_argument("--draft", default=os.path.join(HERE, "evidence-draft.gguf"))
    p.add_argument("--passages", default="1,4,8")
    p.add_argument("--questions", type=int, default=100, help="of each passage count")
    p.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    p.add_argument("--concurrency", type=int, default=1)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    a.end_id = encode(a, END)[0]
    rows = {}
    for n in map(int, a.passages.split(",")):
        with concurrent.futures.ThreadPoolExecutor(a.concurrency) as pool:
            rows[n] = list(pool.map(lambda i: measure(a, n, a.seed + i), range(a.questions)))
    out = {f"{n} passages": summary(x) for n, x in rows.items()} | {"all": summary([r for x in rows.values() for r in x])}
    if a.json:
        print(json.dumps(out))
        return
    for name, s in out.items():
        show(name, s)


if __name__ == "__main__":
    main()
