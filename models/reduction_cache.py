#!/usr/bin/env python3
"""Prompt reduction and the prefix cache together, on a running server: reused and computed prompt tokens.

    reduction_cache.py [--base-url http://127.0.0.1:8080/v1] [--pools 20] [--questions 30] [--passages 24] [--json]

A pool of passages is asked many questions, one after the other, as over a folder of documents. Each setting has a cache of its
own (cache_salt): all passages or fewer (millrace.reduce "auto"), by relevance to the question, in the order of the documents, or
as earlier prompts began ("reuse").
Each pool has --entities entities, so that several passages are about what is asked. Standard library only.
"""
import argparse
import json
import random

import corpus
from evaluate import HELD_OUT_SEED
from reduction import Client, about


def pool(r, passages, entities, questions):
    """Passages in a shuffled order, and questions that some of them answer."""
    s = corpus.Scene(r)
    kinds = r.sample(list(corpus.KINDS), 3)
    named = [(k, corpus.KINDS[k][0](s)) for k in (r.choice(kinds) for _ in range(entities))]
    texts, answered = [], []
    while len(texts) < passages:
        kind, entity = r.choice(named)
        text, facts = about(s, kind, entity, r.sample(list(corpus.KINDS[kind][2]), 2))
        texts.append(text)
        answered += [(kind, t, entity) for t in facts]
    return texts, [corpus.ask(r, *r.choice(answered)) for _ in range(questions)]


def by_relevance(client, body):
    """The documents of a request, best first, those without a word of the question last."""
    reduce = {"top": 1000, "order": "relevance"}
    _, usage, _, _ = client.ask(body | {"millrace": {"reduce": reduce, "prefix_cache": "off"}})
    best = [k["document"] for k in usage["millrace"]["reduction"]["kept"]]
    rest = [i for i in range(len(body["documents"])) if i not in best]
    return [body["documents"][i] for i in best + rest]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    p.add_argument("--key", default="")
    p.add_argument("--pools", type=int, default=20)
    p.add_argument("--questions", type=int, default=30)
    p.add_argument("--passages", type=int, default=24)
    p.add_argument("--entities", type=int, default=8)
    p.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    client = Client(a.base_url, a.key)
    settings = {"all, by relevance": "off", "all, by document": "off",
                "fewer, by relevance": {"order": "relevance"}, "fewer, by document": "auto",
                "fewer, as before": {"order": "reuse"}, "fewer, sentences": {"order": "reuse", "sentences": True}}
    rows = {name: [] for name in settings}
    for i in range(a.pools):
        r = random.Random(a.seed + i)
        texts, questions = pool(r, a.passages, a.entities, a.questions)
        for question in questions:
            body = {"messages": [{"role": "system", "content": corpus.SYSTEM}, {"role": "user", "content": question}],
                    "documents": [{"id": f"p{j}", "text": t} for j, t in enumerate(texts)]}
            ranked = body | {"documents": by_relevance(client, body)}
            for name in r.sample(list(settings), len(settings)):
                chosen = ranked if name == "all, by relevance" else body
                own = {"millrace": {"reduce": settings[name]}, "cache_salt": f"{a.seed} {name}"}
                _, usage, first, _ = client.ask(chosen | own)
                cached = usage["prompt_tokens_details"]["cached_tokens"]
                rows[name].append((usage["prompt_tokens"], cached, first))
    report = {}
    for name, asked in rows.items():
        prompt, cached, first = (sum(column) / len(asked) for column in zip(*asked))
        report[name] = {"prompt_tokens": prompt, "reused": cached, "computed": prompt - cached, "first_token_ms": 1000 * first}
    if a.json:
        return print(json.dumps(report))
    for name, m in report.items():
        print(f"{name}: prompt {m['prompt_tokens']:.1f} tokens, reused {m['reused']:.1f} ({m['reused'] / m['prompt_tokens']:.0%}), "
              f"computed {m['computed']:.1f}, first token {m['first_token_ms']:.2f} ms mean")


if __name__ == "__main__":
    main()
