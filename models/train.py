#!/usr/bin/python3
"""Trains a small model of the qwen2 architecture on corpus.py and exports it as GGUF. README.md has the recipes.

    train.py target OUT.gguf --minutes 60
    train.py target OUT.gguf --resume OUT.gguf.pt --minutes 0        export only

Needs PyTorch and the `regex` module (Debian: python3-torch, python3-regex, libopenblas0-pthread). Runs on one core;
its time is by the clock, evaluation apart, so a busy machine trains less. OUT.gguf.pt holds the weights to go on from.
Three things make it learn from few tokens: circuits laid out at the start (circuits.py), questions that share the
computation of their evidence (network.py), and attention that is taught which keys to look at (batches.py, --aim).
"""
import argparse
import collections
import ctypes
import os
import random
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import tokenizer
from batches import batch_of
from circuits import PLANS, Start
from export_gguf import export
from network import Model
from tokenizer import SPACE

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = {
    "target": dict(d=256, layers=4, heads=8, ff=512, base=1e8),
    "draft": dict(d=128, layers=3, heads=4, ff=256, base=1e8),
}
WARM_UP = 40  # steps
SHARE_OF_OTHER = 0.1  # of the tokens outside answers, which are mostly random facts, are predicted in a step


def keep_memory():
    """Makes malloc keep freed memory, in huge pages: large tensors come and go every step."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except OSError:
        pass
    if "glibc.malloc.hugetlb" not in os.environ.get("GLIBC_TUNABLES", ""):
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # read when a program starts
        os.execv(sys.executable, [sys.executable] + sys.argv)


@torch.no_grad()
def exact_match(model, tok, seed, passages, questions):
    """Shares, by the most likely token after the right ones, of answers all right, and of their parts."""
    r, counts = random.Random(seed), collections.defaultdict(list)
    of, verb = tok.id[SPACE + "of"], tok.id[SPACE + "is"]
    while len(counts["em"]) < questions:
        batch = batch_of(tok, r, [passages], 2000, p_single=1.0)
        good = (model.logits(model(batch)).argmax(-1) == batch["next"]).tolist()
        right = batch["next"].tolist()
        for start, end in batch["answers"]:
            ok, ids = good[start - 1 : end - 1], right[start - 1 : end - 1]
            counts["em"].append(all(ok))
            if of not in ids:
                counts["absent"].append(all(ok))
                continue
            i, j = ids.index(of), ids.index(verb)
            counts["name"].append(all(ok[i + 1 : j]))
            counts["value"].append(all(ok[j + 1 : -5]))
            counts["cite"].append(ok[-3])
    return {k: sum(x) / len(x) for k, x in counts.items()}


def report(model, tok, seed, counts, questions):
    """Scores for each passage count, in a line."""
    score = lambda n: " ".join(f"{k} {x:.3f}" for k, x in exact_match(model, tok, seed, n, questions).items())
    return " | ".join(f"{n}: {score(n)}" for n in counts)


def aims_of(layers, heads, weight):
    """What the plan's heads are taught to look at, as Model.aims has it."""
    roles = PLANS[heads].roles
    marker, entity = roles.index("marker"), roles.index("entity")
    out = [(1, marker, "evidence", "marker", weight), (1, entity, "evidence", "entity_e", weight)]
    out += [(1, entity, "questions", "entity_q", weight)]
    for i in range(2, layers):
        out += [(i, 0, "questions", "value", weight), (i, marker, "questions", "cite", weight)]
    return out


class Trainer:
    """A model in training: AdamW, whose rate warms up and falls at the end of the time it is given."""

    def __init__(self, a, tok):
        self.a, self.tok, self.shape = a, tok, SHAPES[a.shape]
        self.model = Model(**self.shape)
        Start(self.model, tok).lay_out()
        if a.resume:
            self.model.load_state_dict(torch.load(a.resume)["model"])
        if a.aim:
            self.model.aims = aims_of(self.shape["layers"], self.shape["heads"], a.aim)
        qkv = [l.qkv for l in self.model.layers]
        matrices = [w for l in self.model.layers for w in (l.qkv, l.o, l.gate_up, l.down)]
        self.vectors = [p for p in self.model.parameters() if not any(p is w for w in matrices)]  # and embeddings
        usual = [p for p in matrices + self.vectors if not any(p is w for w in qkv)]
        groups = [dict(params=usual, scale=1.0), dict(params=qkv, scale=a.qkv_rate)]
        self.adam = torch.optim.AdamW(groups, lr=a.rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.random = random.Random(1000 + a.seed)
        self.steps, self.seen, self.average = 0, 0, None

    def step(self, done):
        """One batch; `done` is the share of the time that has passed."""
        rate = self.a.rate * min(1, (self.steps + 1) / WARM_UP) * min(1, (1 - done) / self.a.cool + 0.02)
        for group in self.adam.param_groups:
            group["lr"] = rate * group["scale"]
        batch = batch_of(self.tok, self.random, self.a.passages, self.a.batch)
        loss, full = self.losses(batch)
        full.backward()
        nn.utils.clip_grad_norm_(self.vectors, 1.0)
        self.adam.step()
        for p in self.model.parameters():
            p.grad = None
        self.steps += 1
        self.seen += batch["ids"].numel()
        self.average = loss.item() if self.average is None else self.average * 0.97 + 0.03 * loss.item()

    def losses(self, batch):
        """The loss of the answers, and with it some of the rest, which teaches what text is like."""
        h, answer, following = self.model(batch), batch["answer"], batch["next"]
        loss = F.cross_entropy(self.model.logits(h[answer]), following[answer])
        other = batch["other"] & (torch.rand(answer.shape) < SHARE_OF_OTHER)
        return loss, loss + self.a.rest * F.cross_entropy(self.model.logits(h[other]), following[other])

    def run(self):
        """Trains for the time given, and reports now and then."""
        start = last = time.time()
        total = self.a.minutes * 60
        while (now := time.time() - start) < total:
            self.step(now / total)
            if time.time() - last > self.a.every:
                elapsed = time.time() - start
                scores = report(self.model, self.tok, 99, (1, 4) if elapsed < 400 else (1, 2, 4, 8), 150)
                speed = f"{self.seen / 1e6:.2f} M tokens, {self.seen / elapsed:.0f}/s"
                print(f"step {self.steps} {elapsed:.0f} s, {speed}, loss {self.average:.3f} {scores}", flush=True)
                self.save()
                last = time.time()
                start = last - elapsed  # evaluation does not count

    def save(self):
        """The weights to go on from."""
        torch.save({"model": self.model.state_dict(), "shape": self.shape}, self.a.out + ".pt")


def arguments():
    """The command line. Its defaults are those of the recipes in README.md."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("shape", choices=SHAPES)
    p.add_argument("out")
    p.add_argument("--minutes", type=float, default=5)
    p.add_argument("--rate", type=float, default=1e-3, help="AdamW's greatest rate")
    p.add_argument("--qkv-rate", type=float, default=0.4, help="times that, for Q, K and V, so that circuits last")
    p.add_argument("--batch", type=int, default=1200, help="tokens")
    p.add_argument("--aim", type=float, default=0.2, help="weight of what attention is taught; 0: none")
    p.add_argument("--rest", type=float, default=0.1, help="weight of tokens outside answers")
    p.add_argument("--passages", default="1,2,3,4,6", help="counts to draw from, one for each batch")
    p.add_argument("--cool", type=float, default=0.1, help="share of the time, at its end, in which the rate falls")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--every", type=float, default=45, help="seconds between reports")
    p.add_argument("--resume", default="", help="a checkpoint (OUT.pt) whose weights to go on from")
    a = p.parse_args()
    a.passages = [int(x) for x in a.passages.split(",")]
    return a


def main():
    a = arguments()
    keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    tok = tokenizer.load(os.path.join(HERE, "merges.json"))
    trainer = Trainer(a, tok)
    print(sum(p.numel() for p in trainer.model.parameters()), "parameters", vars(a), flush=True)
    trainer.run()
    print("final", report(trainer.model, tok, 98, (1, 2, 4, 8), 600), flush=True)
    trainer.save()
    export(trainer.model, tok, a.out, f"evidence-{a.shape}")


if __name__ == "__main__":
    main()
