#!/usr/bin/env python3
"""What prompt reduction does to a running server's answers, prompts and times to the first token.

    reduction.py [--base-url http://127.0.0.1:8080/v1] [--questions 300] [--passages 24] [--same-entity 3] [--json]

Each question comes with its passages as `documents`: one that holds the answer, some about the same entity that do not, the
others about entities of the same kind, shuffled. It is asked once with millrace.reduce "auto" and once with "off" (all
passages; --modes: others), in random order, one request at a time, streamed; the prefix cache is off, so that no request gains from another.
An answer is right if it is so to the letter, with the number of the right passage among those of its own prompt.
Standard library only.
"""
import argparse
import http.client
import json
import random
import statistics
import time
import urllib.parse

import corpus
from evaluate import HELD_OUT_SEED, wilson


def about(s, kind, entity, topics):
    """A passage about `entity` with facts of the given topics."""
    r = s.r
    _, openings, known = corpus.KINDS[kind]
    text, facts = r.choice(openings).format(e=entity), {}
    for t in topics:
        make, named, pronoun, _ = known[t]
        facts[t] = make(s)
        text += " " + r.choice(pronoun if r.random() < corpus.PRONOUN else named).format(e=entity, v=facts[t])
    return text, facts


def example(r, passages, same_entity):
    """A question, its passages, which of them (from 0) holds the answer, and the answer without a number."""
    s = corpus.Scene(r)
    kind = r.choice(list(corpus.KINDS))
    make_name, _, topics = corpus.KINDS[kind]
    entity = make_name(s)
    asked = r.choice(list(topics))
    others = [t for t in topics if t != asked]
    told = [asked] + r.sample(others, r.choice((1, 2)))
    r.shuffle(told)
    text, facts = about(s, kind, entity, told)
    entries = [(text, True)]
    for _ in range(same_entity):  # of the other topics; never of the one that is asked
        entries.append((about(s, kind, entity, r.sample(others, r.choice((1, 2))))[0], False))
    while len(entries) < passages:
        entries.append((corpus.passage(s, kind, make_name(s))[0], False))
    r.shuffle(entries)
    return {"question": corpus.ask(r, kind, asked, entity), "passages": [e[0] for e in entries],
            "gold": [e[1] for e in entries].index(True), "answer": f"The {asked} of {entity} is {facts[asked]}."}


class Client:
    def __init__(self, base_url, key):
        self.url = urllib.parse.urlsplit(base_url)
        self.connection = http.client.HTTPConnection(self.url.netloc, timeout=120)
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def ask(self, body):
        """(the answer, its usage, seconds to its first text, its annotations) of a streamed chat."""
        body = body | {"temperature": 0, "max_tokens": 64, "stream": True, "stream_options": {"include_usage": True}}
        data = json.dumps(body).encode()
        begin, first, text, usage, notes = time.perf_counter(), None, "", None, []
        self.connection.request("POST", self.url.path + "/chat/completions", data, self.headers)
        response = self.connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {response.read().decode()}")
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                notes += choice["delta"].get("annotations", [])
                if choice["delta"].get("content"):
                    first = first or time.perf_counter() - begin
                    text += choice["delta"]["content"]
        return text, usage, first, notes


def judge(x, answer, usage, notes):
    """(right to the letter, the right passage was in the prompt, the citation's annotation names it)."""
    kept = usage["millrace"]["reduction"]["kept"]
    number = next((k["number"] for k in kept if k["document"] == x["gold"]), None)
    right = answer.strip() == f"{x['answer']} [{number}]"
    return right, number is not None, right and [n["file_citation"]["index"] for n in notes] == [x["gold"]]


def setting(mode):
    """millrace.reduce of a mode: "auto", "off", "top:3", or "prune:0.7", which is "auto" with pruning."""
    return {"prune": float(mode[6:])} if mode.startswith("prune:") else mode


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    p.add_argument("--key", default="")
    p.add_argument("--questions", type=int, default=300)
    p.add_argument("--passages", type=int, default=24)
    p.add_argument("--same-entity", type=int, default=3)
    p.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    p.add_argument("--modes", default="auto,off")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    client, modes = Client(a.base_url, a.key), a.modes.split(",")
    rows = {m: [] for m in modes}
    for i in range(a.questions):
        r = random.Random(a.seed + i)
        x = example(r, a.passages, a.same_entity)
        for mode in r.sample(modes, len(modes)):
            body = {"messages": [{"role": "system", "content": corpus.SYSTEM}, {"role": "user", "content": x["question"]}],
                    "documents": [{"id": f"p{j}", "text": t} for j, t in enumerate(x["passages"])],
                    "millrace": {"reduce": setting(mode), "prefix_cache": "off"}}
            answer, usage, first, notes = client.ask(body)
            rows[mode].append((*judge(x, answer, usage, notes), usage["prompt_tokens"], first, usage["millrace"]["reduction_ms"]))
    report = {"passages": a.passages, "same_entity": a.same_entity, "questions": a.questions, "modes": {}}
    for mode in modes:
        right, held, cited, tokens, first, took = zip(*rows[mode])
        low, high = wilson(sum(right), a.questions)
        report["modes"][mode] = {"exact_match": sum(right) / a.questions, "low": low, "high": high, "gold_kept": sum(held) / a.questions,
                                 "right_and_annotated": sum(cited) / a.questions, "prompt_tokens": statistics.mean(tokens),
                                 "first_token_ms_median": 1000 * statistics.median(first), "first_token_ms_mean": 1000 * statistics.mean(first),
                                 "reduction_ms_median": statistics.median(took)}
    if a.json:
        return print(json.dumps(report))
    for mode, m in report["modes"].items():
        print(f"{mode}: exact match {m['exact_match']:.3f} ({m['low']:.3f} to {m['high']:.3f}), right passage in the prompt {m['gold_kept']:.3f}, "
              f"right and annotated {m['right_and_annotated']:.3f}, prompt {m['prompt_tokens']:.1f} tokens, "
              f"first token {m['first_token_ms_median']:.2f} ms median, {m['first_token_ms_mean']:.2f} mean (reduction {m['reduction_ms_median']:.2f})")
    if {"auto", "off"} <= set(modes):
        auto, off = report["modes"]["auto"], report["modes"]["off"]
        ratio = {k: auto[k] / off[k] for k in ("prompt_tokens", "first_token_ms_median", "first_token_ms_mean")}
        print("auto / off: " + ", ".join(f"{k} {v:.3f}" for k, v in ratio.items()))


if __name__ == "__main__":
    main()
