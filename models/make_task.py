#!/usr/bin/env python3
"""Writes questions of the corpus as a task for `millrace evaluate` (JSONL).

    make_task.py --questions 1200 --seed 7000000 > demo-task.jsonl

The default seed is the held-out one of evaluate.py: training draws from seeds near 1000. For calibration text, which must be
neither, give another seed, such as 6000000. Passages per question: 1 to 8 in turn.
"""
import argparse
import json
import random
import sys

import corpus
import evaluate


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--questions", type=int, default=1200)
    p.add_argument("--seed", type=int, default=evaluate.HELD_OUT_SEED)
    a = p.parse_args()
    for i in range(a.questions):
        example = corpus.example(random.Random(a.seed + i), i % 8 + 1, 1)
        turn = example["turns"][0]
        line = {"id": f"{a.seed + i}", "messages": [{"role": "system", "content": corpus.SYSTEM}, {"role": "user", "content": turn["question"]}],
                "documents": example["passages"], "expected": turn["answer"]}
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
