#!/usr/bin/env python3
"""Prints held-out questions over numbered passages as the model's prompts, one JSON object a line: {"prompt": text}.

    prompts.py 500 --passages 4 [--shuffled] [--seed S] > prompts.jsonl

--shuffled mixes up the words of the evidence and the question: text for which a draft is mostly wrong. Standard library only.
"""
import argparse
import json
import random

import corpus
from evaluate import HELD_OUT_SEED


def shuffle(r, text):
    words = text.split(" ")
    r.shuffle(words)
    return " ".join(words)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("questions", type=int)
    p.add_argument("--passages", type=int, default=4)
    p.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    p.add_argument("--shuffled", action="store_true")
    a = p.parse_args()
    for i in range(a.questions):
        r = random.Random(a.seed + i)
        example = corpus.example(r, a.passages, 1)
        if a.shuffled:
            example["passages"] = [shuffle(r, passage) for passage in example["passages"]]
            for turn in example["turns"]:
                turn["question"] = shuffle(r, turn["question"])
        head, [(question, _)] = corpus.chat(example)
        print(json.dumps({"prompt": head + question}, ensure_ascii=False))


if __name__ == "__main__":
    main()
