#!/usr/bin/env python3
"""Questions for `millrace reduce`, one JSON object a line.

    study_questions.py nq FOLDER [--data ../shared/data/nq-open-oracle.jsonl.gz]
        writes FOLDER/passages.jsonl (the pool of all gold passages, for `millrace index add`) and FOLDER/questions.jsonl
    study_questions.py demo FOLDER [--questions 400] [--passages 24] [--same-entity 3]
        writes FOLDER/questions.jsonl, each with passages of its own about the demo model's invented world: one answers

The demo's expected answer is the sentence without the passage's number, as the number depends on what is kept.
Standard library only.
"""
import argparse
import gzip
import json
import pathlib
import random


def nq(folder, path):
    pool, lines = {}, []
    with gzip.open(path, "rt", encoding="utf-8") as data:
        for line in map(json.loads, data):
            ids = []
            for c in line["ctxs"]:
                key = (c["title"], c["text"])
                ids.append(pool.setdefault(key, str(len(pool))))
            lines.append({"question": line["question"], "answers": line["answers"], "relevant": ids})
    passages = [{"id": i, "title": title, "text": text} for (title, text), i in pool.items()]
    return passages, lines


def demo(questions, passages, same_entity):
    from evaluate import HELD_OUT_SEED
    from reduction import example
    for i in range(questions):
        x = example(random.Random(HELD_OUT_SEED + i), passages, same_entity)
        yield {"question": x["question"], "expected": {"contains": x["answer"]}, "relevant": [f"p{x['gold']}"],
               "documents": [{"id": f"p{j}", "text": t} for j, t in enumerate(x["passages"])]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("nq", "demo"))
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--data", default=pathlib.Path(__file__).resolve().parents[2] / "shared/data/nq-open-oracle.jsonl.gz")
    p.add_argument("--questions", type=int, default=400)
    p.add_argument("--passages", type=int, default=24)
    p.add_argument("--same-entity", type=int, default=3)
    a = p.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)

    def write(name, rows):
        with open(a.folder / name, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    if a.what == "nq":
        passages, lines = nq(a.folder, a.data)
        write("passages.jsonl", passages)
        write("questions.jsonl", lines)
    else:
        write("questions.jsonl", demo(a.questions, a.passages, a.same_entity))


if __name__ == "__main__":
    main()
