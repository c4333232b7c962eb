#!/usr/bin/env python3
"""Asks a running server held-out questions and scores whole answers.

    evaluate.py --base-url http://127.0.0.1:8080/v1 --passages 4 --questions 500 --concurrency 8 [--json]

Each question is a chat of its own: the evidence in the system message as the model was trained on it, then the question,
greedy. Prints the share of answers that are right to the letter, with a Wilson 95 % interval. Standard library only.
"""
import argparse
import concurrent.futures
import json
import math
import random
import urllib.request

import corpus

HELD_OUT_SEED = 7_000_000  # training draws from seeds near 1000


def ask(base_url, model, key, example):
    """The server's greedy answer to the example's question."""
    body = {"model": model, "messages": corpus.messages(example), "temperature": 0, "max_tokens": 64}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(base_url + "/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def wilson(right, n, z=1.96):
    """Wilson's interval (1927) of a share: `right` of `n`, 95 % by default."""
    p = right / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    p.add_argument("--model", default="evidence-target")
    p.add_argument("--key", default="")
    p.add_argument("--passages", type=int, default=4)
    p.add_argument("--questions", type=int, default=500)
    p.add_argument("--concurrency", type=int, default=8)
    p.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    p.add_argument("--show", type=int, default=0, help="print this many wrong answers")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    examples = [corpus.example(random.Random(a.seed + i), a.passages, 1) for i in range(a.questions)]
    with concurrent.futures.ThreadPoolExecutor(a.concurrency) as pool:
        answers = list(pool.map(lambda e: ask(a.base_url, a.model, a.key, e), examples))
    wrong = [(e, x) for e, x in zip(examples, answers) if x.strip() != e["turns"][0]["answer"]]
    right = a.questions - len(wrong)
    low, high = wilson(right, a.questions)
    for e, x in wrong[: a.show]:
        print(json.dumps({"question": e["turns"][0]["question"], "expected": e["turns"][0]["answer"], "got": x}, ensure_ascii=False))
    if a.json:
        print(json.dumps({"passages": a.passages, "questions": a.questions, "exact_match": right / a.questions, "low": low, "high": high}))
    else:
        print(f"{a.passages} passages: exact match {right / a.questions:.3f} of {a.questions} (95 % interval {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
