#!/usr/bin/python3
"""Trains a small model of the qwen2 architecture on corpus.py and exports it as GGUF.

    train.py target OUT.gguf --minutes 60 --opt adam --alr 0.001 --batch 1200 --qscale 0.4 --passages 1,2,3,4,6
    train.py draft  OUT.gguf --minutes 10 ...
    train.py target OUT.gguf --resume OUT.gguf.pt --minutes 0        export only

Needs PyTorch and the `regex` module (Debian: python3-torch, python3-regex, libopenblas0-pthread). Runs on one core.
Three things make it learn from few tokens: circuits laid out at the start (previous-token heads from rope phases in
the Q and K biases, content-matching heads), questions that share the computation of their evidence, and attention that
is taught directly which keys to look at (--aim): the marker of a passage, the entity of a question, the value asked for.
"""
import argparse, bisect, collections, ctypes, json, math, os, random, struct, sys, time
import regex
import torch
import torch.nn as nn
import torch.nn.functional as F
import corpus

try:  # keep freed memory: large tensors come and go every step
    _libc = ctypes.CDLL("libc.so.6")
    _libc.mallopt(-4, 0)
    _libc.mallopt(-1, 1 << 30)
except OSError:
    pass

if "glibc.malloc.hugetlb" not in os.environ.get("GLIBC_TUNABLES", ""):
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    os.execv(sys.executable, [sys.executable] + sys.argv)
HERE = os.path.dirname(os.path.abspath(__file__))
PRE = regex.compile(r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
N_VOCAB = 2048
BF = torch.bfloat16
EPS = 1e-5
CONTEXT = 4096  # declared; trained on up to about 600 positions
SHAPES = {"target": dict(d=256, layers=4, heads=8, ff=512, base=1e8), "draft": dict(d=128, layers=2, heads=4, ff=256, base=1e8)}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_symbols():
    """GPT-2's table: each of the 256 bytes as one printable character."""
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + i) for i, b in enumerate(rest)}


SYMBOL = byte_symbols()


class Tokenizer:
    def __init__(self, merges):
        self.merges = merges
        self.rank = {tuple(m): i for i, m in enumerate(merges)}
        self.tokens = [SYMBOL[b] for b in range(256)] + ["".join(m) for m in merges]
        self.tokens += [f"<|unused{i}|>" for i in range(N_VOCAB - len(self.tokens) - len(CONTROL))] + CONTROL
        self.id = {t: i for i, t in enumerate(self.tokens)}
        self.cache = {}

    def word(self, w):
        if w in self.cache:
            return self.cache[w]
        parts = [SYMBOL[b] for b in w.encode()]
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda i: self.rank.get((parts[i], parts[i + 1]), 1 << 30))
            if (parts[best], parts[best + 1]) not in self.rank:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        ids = [self.id[p] for p in parts]
        if len(self.cache) < 200000:
            self.cache[w] = ids
        return ids

    def encode(self, text):
        out = []
        for piece in regex.split(r"(<\|im_start\|>|<\|im_end\|>)", text):
            if piece in CONTROL:
                out.append(self.id[piece])
            else:
                for w in PRE.findall(piece):
                    out.extend(self.word(w))
        return out

    def decode(self, ids):
        back = {v: k for k, v in SYMBOL.items()}
        return b"".join(self.tokens[i].encode() if self.tokens[i] in CONTROL else bytes(back[c] for c in self.tokens[i]) for i in ids).decode("utf-8", "replace")

    @staticmethod
    def train(path):
        if os.path.exists(path):
            return Tokenizer(json.load(open(path)))
        r = random.Random(0)
        counts = collections.Counter()
        for _ in range(12000):
            head, turns = corpus.chat(corpus.example(r))
            for text in [head] + [t for qa in turns for t in qa]:
                counts.update(PRE.findall(regex.sub(r"<\|im_(start|end)\|>", "", text)))
        words = {w: [SYMBOL[b] for b in w.encode()] for w in counts}
        merges = []
        pairs, where = collections.Counter(), collections.defaultdict(set)
        for w, p in words.items():
            for a in zip(p, p[1:]):
                pairs[a] += counts[w]
                where[a].add(w)
        while len(merges) < N_VOCAB - 256 - len(CONTROL) - 32:
            top = max(pairs, key=lambda k: (pairs[k], k))
            merges.append(list(top))
            for w in list(where.pop(top)):
                p = words[w]
                for a in zip(p, p[1:]):
                    pairs[a] -= counts[w]
                q, i = [], 0
                while i < len(p):
                    if i + 1 < len(p) and (p[i], p[i + 1]) == top:
                        q.append(p[i] + p[i + 1])
                        i += 2
                    else:
                        q.append(p[i])
                        i += 1
                words[w] = q
                for a in zip(q, q[1:]):
                    pairs[a] += counts[w]
                    where[a].add(w)
            del pairs[top]
        json.dump(merges, open(path, "w"), ensure_ascii=False)
        return Tokenizer(merges)


def norm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * w


class Attend(torch.autograd.Function):
    """Causal attention of the evidence over itself, and of each question over the evidence and itself."""

    @staticmethod
    def forward(ctx, qe, ke, ve, qq, kq, vq, lay, aims):
        B, E, Q, L = lay["B"], lay["E"], lay["Q"], lay["L"]
        N, H, hd = qe.shape[0], qe.shape[0] // B, qe.shape[2]
        own = lambda z: z.view(N * Q, L, hd)
        pe = torch.bmm(qe, ke.transpose(1, 2)).add_(lay["causal_e"])
        pe = torch.softmax(pe, -1)
        ze = torch.bmm(pe, ve)
        s = torch.empty(N, Q * L, E + L, dtype=qe.dtype)
        torch.add(torch.bmm(qq, ke.transpose(1, 2)).view(B, H, Q * L, E), lay["pad_e"], out=s.view(B, H, Q * L, E + L)[..., :E])
        torch.add(torch.bmm(own(qq), own(kq).transpose(1, 2)).view(N, Q, L, L), lay["causal_q"], out=s.view(N, Q, L, E + L)[..., E:])
        s = torch.softmax(s, -1)
        p1, p2 = s[..., :E].contiguous(), s[..., E:].reshape(N * Q, L, L)
        zq = torch.bmm(p1, ve) + torch.bmm(p2, own(vq)).view(N, Q * L, hd)
        ctx.save_for_backward(qe, ke, ve, qq, kq, vq, pe, p1, p2, ze, zq)
        ctx.lay, ctx.aims = lay, aims
        return ze, zq

    @staticmethod
    def backward(ctx, de, dq):
        qe, ke, ve, qq, kq, vq, pe, p1, p2, ze, zq = ctx.saved_tensors
        Q, L = ctx.lay["Q"], ctx.lay["L"]
        N, _, hd = qe.shape
        own = lambda z: z.reshape(N * Q, L, hd)
        t = lambda z: z.transpose(1, 2)
        ds = torch.bmm(de, t(ve)).sub_((de * ze).sum(-1, keepdim=True)).mul_(pe)
        dot = (dq * zq).sum(-1, keepdim=True)
        d1 = torch.bmm(dq, t(ve)).sub_(dot).mul_(p1)
        d2 = torch.bmm(own(dq), t(own(vq))).sub_(dot.reshape(N * Q, L, 1)).mul_(p2)
        H = N // ctx.lay["B"]
        for head, part, (b, i, lo, hi), weight in ctx.aims:
            # gradient of -log(attention that falls on keys lo..hi), averaged over the rows that have such an aim
            n = len(b) or 1
            row = b * H + head
            if part == "e":
                p = pe[row, i].float()
                inside = p * ((ctx.lay["keys_e"] >= lo[:, None]) & (ctx.lay["keys_e"] < hi[:, None]))
                ds[row, i] += ((p - inside / (inside.sum(-1, keepdim=True) + 1e-9)) * (weight / n)).to(ds.dtype)
            else:
                r2 = row * Q + i // L
                p = torch.cat((p1[row, i], p2[r2, i % L]), -1).float()
                inside = p * ((ctx.lay["keys_q"] >= lo[:, None]) & (ctx.lay["keys_q"] < hi[:, None]))
                g = ((p - inside / (inside.sum(-1, keepdim=True) + 1e-9)) * (weight / n)).to(ds.dtype)
                E = p1.shape[-1]
                d1[row, i] += g[:, :E]
                d2[r2, i % L] += g[:, E:]
        dqe = torch.bmm(ds, ke)
        dke = torch.bmm(t(ds), qe) + torch.bmm(t(d1), qq)
        dve = torch.bmm(t(pe), de) + torch.bmm(t(p1), dq)
        dqq = torch.bmm(d1, ke) + torch.bmm(d2, own(kq)).view(N, Q * L, hd)
        dkq = torch.bmm(t(d2), own(qq)).view(N, Q * L, hd)
        dvq = torch.bmm(t(p2), own(dq)).view(N, Q * L, hd)
        return dqe, dke, dve, dqq, dkq, dvq, None, None


class Layer(nn.Module):
    def __init__(self, d, heads, ff):
        super().__init__()
        self.heads, self.hd = heads, d // heads
        self.attn_norm, self.ffn_norm = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.qkv = nn.Parameter(torch.empty(3, d, d))  # q, k, v
        self.qkv_bias = nn.Parameter(torch.zeros(3, d))
        self.o = nn.Parameter(torch.empty(d, d))
        self.gate_up = nn.Parameter(torch.empty(2, ff, d))
        self.down = nn.Parameter(torch.empty(d, ff))

    def forward(self, x, cos, sin, lay, aims=()):
        """x holds the evidence of B examples (B·E positions), then their questions with answers (B·Q·L)."""
        B, E, Q, L, H, hd = lay["B"], lay["E"], lay["Q"], lay["L"], self.heads, self.hd
        n, d = x.shape
        h = norm(x, self.attn_norm).to(BF)
        y = F.linear(h, self.qkv.to(BF).view(3 * d, d), self.qkv_bias.to(BF).view(-1)).view(n, 3, H, hd)
        qk = y[:, :2]
        a, c = qk.chunk(2, -1)
        qk = torch.cat((a * cos - c * sin, a * sin + c * cos), -1)  # rotates halves: the layout of the qwen2 architecture
        part = lambda z, t0, t1, T: z[t0:t1].view(B, T, H, hd).transpose(1, 2).reshape(B * H, T, hd)
        (qe, ke, ve), (qq, kq, vq) = ([part(z, t0, t1, T) for z in (qk[:, 0], qk[:, 1], y[:, 2])] for t0, t1, T in ((0, B * E, E), (B * E, n, Q * L)))
        ze, zq = Attend.apply(qe, ke, ve, qq, kq, vq, lay, aims)
        join = lambda z, T: z.view(B, H, T, hd).transpose(1, 2).reshape(B * T, d)
        x = x + F.linear(torch.cat((join(ze, E), join(zq, Q * L))), self.o.to(BF)).float()
        h = norm(x, self.ffn_norm).to(BF)
        ff = self.down.shape[1]
        g, u = F.linear(h, self.gate_up.to(BF).view(2 * ff, d)).chunk(2, -1)
        return x + F.linear(F.silu(g) * u, self.down.to(BF)).float()


class Model(nn.Module):
    def __init__(self, d, layers, heads, ff, base):
        super().__init__()
        self.shape = dict(d=d, layers=layers, heads=heads, ff=ff, base=base)
        self.embed = nn.Parameter(torch.randn(N_VOCAB, d) * 0.05)
        self.layers = nn.ModuleList(Layer(d, heads, ff) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(d))
        self.aims = []
        self.head = nn.Parameter(torch.empty(N_VOCAB, d))

    def rope(self, pos):
        hd = self.shape["d"] // self.shape["heads"]
        f = self.shape["base"] ** (-torch.arange(0, hd, 2).float() / hd)
        a = pos[..., None].float() * f
        return a.cos()[:, None, None].to(BF), a.sin()[:, None, None].to(BF)

    def forward(self, b):
        cos, sin = self.rope(b["pos"])
        x = F.embedding(b["ids"], self.embed)
        for i, l in enumerate(self.layers):
            aims = [(h, part, b["aims"][what], weight) for at, h, part, what, weight in self.aims if at == i] if torch.is_grad_enabled() else ()
            x = l(x, cos, sin, b["lay"], aims)
        return norm(x, self.norm)

    def logits(self, h):
        return F.linear(h.to(BF), self.head.to(BF)).float()


def orth(n, m):
    q, _ = torch.linalg.qr(torch.randn(max(n, m), min(n, m)))
    return q if n >= m else q.T.contiguous()


def token_types(tok):
    """Features of a token's text that an embedding starts with, so that names share something before they are learned."""
    out = torch.zeros(N_VOCAB, 6)
    for i, t in enumerate(tok.tokens):
        body = t[1:] if t[0] == "\u0120" else t
        kind = 5 if t in CONTROL else 4 if not body[:1].isalnum() else 3 if body[0].isdigit() else 0 if body[0].isupper() and t[0] == "\u0120" else 1 if t[0] == "\u0120" else 2
        out[i, kind] = 1
    return out


@torch.no_grad()
def init(model, tok, mimetic=True):
    s = model.shape
    d, H, L = s["d"], s["heads"], s["layers"]
    hd = d // H
    for l in model.layers:
        for w in (l.qkv, l.o, l.gate_up, l.down):
            w.normal_(std=0.7 / math.sqrt(w.shape[-1]))
        l.o *= 0.3
        l.down *= 0.2
        l.qkv[:2] /= hd**0.25  # softmax(q·k) carries no 1/sqrt(hd) factor here; export puts it back
    # registers of the residual stream: token, previous token, token before it, two bags of the last tokens, features
    T = d // 2
    model.embed.normal_().mul_(0.1 / math.sqrt(d))
    model.embed[:, :T] = torch.randn(N_VOCAB, T) / math.sqrt(T)
    types = torch.zeros(6, d)
    types[:, -d // 8 :] = torch.randn(6, d // 8) / math.sqrt(d // 8) * 0.7
    model.embed += token_types(tok) @ types
    R = torch.linalg.qr(torch.randn(d, d))[0]
    model.head.copy_(model.embed @ R.T * 0.7)
    if not mimetic:
        return
    f = s["base"] ** (-torch.arange(0, hd, 2).float() / hd)
    slow = (f < 0.004).float()
    slow = torch.cat((slow, slow))[:, None]
    l = model.layers[0]
    offsets = [1, 2, (-1, 6), (-1, 13)] if H > 4 else [1, (0, 10)]
    W = d // 8
    q, k, v = (l.qkv[i].view(H, hd, d) for i in range(3))
    qb, kb = (l.qkv_bias[i].view(H, hd) for i in range(2))
    o = l.o.view(d, H, hd)
    code, reg = [], []
    for h, off in enumerate(offsets):
        C = torch.zeros(hd, d)
        C[:, :T] = orth(hd, T)
        S = torch.zeros(d, hd)
        at = T + h * W
        S[at : at + W] = orth(W, hd)
        code.append(C)
        reg.append(S.T)
        if isinstance(off, int):
            amp, ph, n = torch.full_like(f, 9.0), off * f, 1
        else:
            lo, hi = off
            mid, half = (lo + hi) / 2, (hi - lo) / 2
            amp, ph, n = torch.where((f < 2.0 / half) & (f > 0.6 / (half + 1)), 8.0, 0.0), mid * f, hi - lo
        v[h] = C
        # h = sqrt(d) x; a token's code has norm sqrt(hd / T)
        o[:, h] = S * math.sqrt(T / hd) / math.sqrt(d) * math.sqrt(n)
        q[h] *= 0.1
        k[h] *= 0.1
        a = amp.sqrt()  # score(distance) = sum amp cos(f distance - ph)
        qb[h] = torch.cat((a, torch.zeros_like(a)))
        kb[h] = torch.cat((a * ph.cos(), a * ph.sin()))
    amp = (torch.where((f < 0.2) & (f > 0.02), 7.0, 0.0)).sqrt()
    recent = torch.cat((amp, torch.zeros_like(amp)))  # favours keys a few tokens back
    u = torch.randn(hd) * slow[:, 0]
    u /= u.norm()
    amp = (torch.where((f < 0.05) & (f > 0.005), 7.0, 0.0)).sqrt()
    far = (torch.where((f < 0.02) & (f > 0.005), 5.0, 0.0)).sqrt()
    far = torch.cat((far, torch.zeros_like(far)))
    mark = torch.cat((amp, torch.zeros_like(amp)))
    e_mark = model.embed[tok.id["]"]].clone()
    N, N2 = orth(d, 2 * hd).chunk(2, 1)
    for li in range(1, L):
        l = model.layers[li]
        q, k, v = (l.qkv[i].view(H, hd, d) for i in range(3))
        qb, kb = (l.qkv_bias[i].view(H, hd) for i in range(2))
        o = l.o.view(d, H, hd)
        l.o.mul_(0.5)
        V = orth(T, T).view(-1, hd, T)
        for h in range(H):
            # what came before the key is what the query holds; bags match bags; tokens match bags and tokens
            pairs = [(code[0], reg[0]), (reg[-1], reg[-1]), (reg[-2], reg[-2]), (code[-1], reg[-1]), None, (reg[-1], code[-1]), "marker" if li == 1 else "number", "entity" if li == 1 else "far"]
            if h >= len(pairs):
                continue
            q[h] *= 0.2
            k[h] *= 0.2
            if li > 1 and pairs[h] in ("number",) or h in (1, 2):  # looks far back: neither at itself nor at its own sentence
                qb[h] = far
                kb[h] = -far
            if pairs[h] is None:  # the most recent name
                qb[h] = recent + 3 * u
                kb[h] = recent
                k[h] += u[:, None] * types[0] * 3
            elif pairs[h] == "marker":  # the most recent "]": hands on the number before it
                qb[h] = mark + 3 * u
                kb[h] = mark
                k[h] += u[:, None] * e_mark * 0.5
                v[h] = reg[0]
                o[:, h] = N / 6
                continue
            elif pairs[h] == "entity":
                v[h] = code[0]
                o[:, h] = N2 * 0.3
            elif pairs[h] == "far":
                continue
            elif pairs[h] == "number":
                q[h] += N2.T * slow * 0.8
                k[h] += N2.T * slow * 0.8
                v[h] = N.T
                o[:, h] = R @ code[0].T * 0.15
                continue
            else:
                q[h] += pairs[h][0] * slow * 0.8
                k[h] += pairs[h][1] * slow * 0.8
            v[h] = 0
            v[h, :, :T] = V[h % len(V)]
            if li > 1 or h == 4:
                o[:, h] = R[:, :T] @ V[h % len(V)].T * 0.4
            else:  # hand the token found on, in a code of its own
                o[:, h] = torch.randn(d, hd) / math.sqrt(d) * 0.2


def starts_of(tok, ids):
    """Where each token begins in its text (all of it ASCII), and where the last one ends."""
    out = [0]
    for i in ids:
        out.append(out[-1] + len(tok.tokens[i]))
    return out


def batch_of(tok, r, passages, tokens_wanted, turns=10, p_single=0.75):
    """Examples of one passage count, flat: the evidence of all, then every question with its answer.

    Single: each question stands alone after the evidence. Otherwise the questions follow one another as turns.
    `aims` names keys that a head may be taught to attend to: (example, row, first key, end) of each row with one.
    """
    n, single = r.choice(passages), r.random() < p_single
    heads, rows, total = [], [], 0  # a row: ids and answer spans
    aims = collections.defaultdict(list)
    while total < tokens_wanted:
        ex = corpus.example(r, passages=n, turns=turns if single else 6)
        head, qa = corpus.chat(ex)
        ids = tok.encode(head)
        heads.append(ids)
        B = len(heads) - 1
        at = starts_of(tok, ids)
        token = lambda c: bisect.bisect_right(at, c) - 1
        area, begin = [], 0
        for i, (p, e) in enumerate(zip(ex["passages"], ex["entities"])):
            begin = head.index(f"[{i + 1}] {p}", begin) + len(f"[{i + 1}]")
            lo, hi, name = token(begin), token(begin + len(p)) + 1, token(begin + 1 + p.index(e))
            name_end = token(begin + p.index(e) + len(e)) + 1
            area.append((lo, hi, begin + 1))
            aims["marker"] += [(B, j, lo - 1, lo) for j in range(lo, hi)]
            aims["entity_e"] += [(B, j, name, name_end) for j in range(name, hi)]
        mine, ids, spans = [], [], []
        for k, ((q, a), t) in enumerate(zip(qa, ex["turns"])):
            if single:
                ids, spans = [], []
            iq, ia = tok.encode(("\n" if ids else "") + q), tok.encode(a)
            here, base = len(ids) + len(iq), 0 if single else len(ids)
            ids = ids + iq + ia
            spans.append((here, len(ids)))
            o = k * 1000000 if single else 0  # the row of question k, resolved once L is known
            qs = starts_of(tok, iq)
            c = "".join(tok.tokens[i] for i in iq).index("\u0120" + t["entity"].replace(" ", "\u0120"))
            e0, e1 = bisect.bisect_right(qs, c) - 1, bisect.bisect_right(qs, c + len(t["entity"])) 
            off = here - len(iq)
            aims["entity_q"] += [(B, o + j, -1 - (off + e0), -1 - (off + e1)) for j in range(off + e1 - 1, len(ids))]
            if t["gold"]:
                lo, hi, chars = area[t["gold"] - 1]
                v0 = token(chars + t["at"] - 1)
                v1 = token(chars + t["at"] + len(t["value"]) - 1) + 1
                end = len(ids) - 5  # ". [n]<|im_end|>"
                aims["value"] += [(B, o + here, v0, v0 + 1)] + [(B, o + end - (v1 - v0) + j - 1, v0 + j, v0 + j + 1) for j in range(v1 - v0)]
                aims["cite"].append((B, o + len(ids) - 4, lo, hi))
            else:
                aims["value"].append((B, o + here, 0, 1))
            if single:
                mine.append((ids, spans))
        if not single:
            mine.append((ids, spans))
        rows += mine
        total += len(heads[-1]) + sum(len(x) for x, _ in mine)
    B, E, Q, L = len(heads), max(map(len, heads)), len(rows) // len(heads), max(len(x) for x, _ in rows)
    pad = tok.id["<|endoftext|>"]
    ids_e = torch.tensor([h + [pad] * (E - len(h)) for h in heads])
    ids_q = torch.tensor([x + [pad] * (L - len(x)) for x, _ in rows])
    start = torch.tensor([len(h) for h in heads])
    pos_e = torch.arange(E).expand(B, E)
    pos_q = start.repeat_interleave(Q)[:, None] + torch.arange(L)
    neg = lambda keep: torch.zeros(keep.shape, dtype=BF).masked_fill_(~keep, -1e4)
    lay = dict(B=B, E=E, Q=Q, L=L, causal_e=neg(torch.ones(E, E, dtype=torch.bool).tril()), causal_q=neg(torch.ones(L, L, dtype=torch.bool).tril()),
               pad_e=neg(torch.arange(E) < start[:, None])[:, None, None], keys_e=torch.arange(E), keys_q=torch.arange(E + L))
    fix = lambda lo: lo if lo >= 0 else E - 1 - lo
    aims = {k: torch.tensor([(b, i // 1000000 * L + i % 1000000, fix(lo), fix(hi)) for b, i, lo, hi in v]).view(-1, 4).T for k, v in aims.items()}
    for k in ("marker", "entity_e", "entity_q", "value", "cite"):
        aims.setdefault(k, torch.zeros(4, 0, dtype=torch.long))
    w_q = torch.zeros(ids_q.shape)
    for i, (_, spans) in enumerate(rows):
        for a, e in spans:
            w_q[i, a - 1 : e - 1] = 1
    nxt = lambda x: torch.cat((x[:, 1:], x[:, :1]), 1)
    real = torch.cat(((torch.arange(E) < start[:, None] - 1).flatten(), (torch.arange(L) < torch.tensor([len(x) - 1 for x, _ in rows])[:, None]).flatten()))
    flat = lambda e, q: torch.cat((e.reshape(-1), q.reshape(-1)))
    w = flat(torch.zeros(B, E), w_q)
    spans = [(B * E + i * L + a, B * E + i * L + e) for i, (_, sp) in enumerate(rows) for a, e in sp]
    return dict(ids=flat(ids_e, ids_q), pos=flat(pos_e, pos_q), y=flat(nxt(ids_e), nxt(ids_q)), w=w, rest=real & (w == 0), lay=lay, spans=spans, aims=aims)


@torch.no_grad()
def exact_match(model, tok, seed, passages, questions=300, p_single=1.0):
    """Teacher-forced argmax: shares of answers all right, and of names, values, citations and refusals."""
    r, c = random.Random(seed), collections.defaultdict(list)
    of, verb = tok.id["\u0120of"], tok.id["\u0120is"]
    while len(c["em"]) < questions:
        b = batch_of(tok, r, [passages], 2000, p_single=p_single)
        good = (model.logits(model(b)).argmax(-1) == b["y"]).tolist()
        y = b["y"].tolist()
        for a, e in b["spans"]:
            ok, t = good[a - 1 : e - 1], y[a - 1 : e - 1]
            c["em"].append(all(ok))
            if of not in t:
                c["absent"].append(all(ok))
                continue
            i, j = t.index(of), t.index(verb)
            c["name1"].append(ok[i + 1])
            c["name"].append(all(ok[i + 1 : j]))
            c["val"].append(all(ok[j + 1 : -5]))
            c["cite"].append(ok[-3])
    return {k: sum(x) / len(x) for k, x in c.items()}


def newton_schulz(g, steps=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(BF)
    x = x / (x.float().flatten(1).norm(dim=1)[:, None, None] + 1e-7).to(BF)
    for _ in range(steps):
        A = torch.bmm(x, x.transpose(1, 2))
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)
        x = torch.baddbmm(x, B, x, beta=a)
    return x.float()


class Muon:
    """Momentum with orthogonalised updates; matrices of one shape are handled as one batch."""

    def __init__(self, params, lr, momentum=0.95, steps=5):
        self.params, self.lr, self.mu, self.steps = params, lr, momentum, steps
        self.buf = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self):
        groups = collections.defaultdict(list)
        for p, m in zip(self.params, self.buf):
            m.lerp_(p.grad, 1 - self.mu)
            u = p.grad.lerp(m, self.mu)
            for i, x in enumerate(u.view(-1, *u.shape[-2:])):
                pp = p.data.view(-1, *u.shape[-2:])[i]
                tall = x.shape[0] > x.shape[1]
                groups[tuple(sorted(x.shape))].append((pp, x.T if tall else x, tall))
        for shape, g in groups.items():
            o = newton_schulz(torch.stack([x for _, x, _ in g]), self.steps)
            for (p, _, tall), u in zip(g, o):
                p.mul_(1 - self.lr * 0.01)
                u = u.T if tall else u
                p.add_(u, alpha=-self.lr * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def export(model, tok, path, title):
    """GGUF version 3, matrices as F16, vectors as F32, data aligned to 32 bytes."""
    s = model.shape
    d, heads, ff = s["d"], s["heads"], s["ff"]
    text = lambda v: struct.pack("<Q", len(v.encode())) + v.encode()
    u32 = lambda v: (4, struct.pack("<I", v))
    f32 = lambda v: (6, struct.pack("<f", v))
    st = lambda v: (8, text(v))
    boolean = lambda v: (7, struct.pack("<?", v))
    arr = lambda kind, items: (9, struct.pack("<IQ", kind, len(items)) + b"".join(items))
    meta = {
        "general.architecture": st("qwen2"), "general.name": st(title), "general.file_type": u32(1), "general.alignment": u32(32),
        "qwen2.context_length": u32(CONTEXT), "qwen2.embedding_length": u32(d), "qwen2.block_count": u32(s["layers"]),
        "qwen2.feed_forward_length": u32(ff), "qwen2.attention.head_count": u32(heads), "qwen2.attention.head_count_kv": u32(heads),
        "qwen2.attention.layer_norm_rms_epsilon": f32(EPS), "qwen2.rope.freq_base": f32(s["base"]),
        "tokenizer.ggml.model": st("gpt2"), "tokenizer.ggml.pre": st("qwen2"),
        "tokenizer.ggml.tokens": arr(8, [text(t) for t in tok.tokens]),
        "tokenizer.ggml.token_type": arr(5, [struct.pack("<i", 3 if t in CONTROL else 5 if t.startswith("<|unused") else 1) for t in tok.tokens]),
        "tokenizer.ggml.merges": arr(8, [text(" ".join(m)) for m in tok.merges]),
        "tokenizer.ggml.bos_token_id": u32(tok.id["<|endoftext|>"]), "tokenizer.ggml.eos_token_id": u32(tok.id["<|im_end|>"]),
        "tokenizer.ggml.add_bos_token": boolean(False), "tokenizer.chat_template": st(TEMPLATE),
    }
    tensors = [("token_embd.weight", model.embed), ("output_norm.weight", model.norm), ("output.weight", model.head)]
    for i, l in enumerate(model.layers):
        b = f"blk.{i}."
        tensors += [(b + "attn_norm.weight", l.attn_norm), (b + "ffn_norm.weight", l.ffn_norm)]
        for j, n in enumerate("qkv"):
            scale = math.sqrt(d // heads) if n == "q" else 1.0  # scores are not scaled here, but are by 1/sqrt(head) in qwen2
            tensors += [(f"{b}attn_{n}.weight", l.qkv[j] * scale), (f"{b}attn_{n}.bias", l.qkv_bias[j] * scale)]
        tensors += [(b + "attn_output.weight", l.o), (b + "ffn_gate.weight", l.gate_up[0]), (b + "ffn_up.weight", l.gate_up[1]), (b + "ffn_down.weight", l.down)]
    head, blobs, offset = b"", [], 0
    for name, p in tensors:
        p = p.detach()
        kind, data = (1, p.half().contiguous().numpy().tobytes()) if p.dim() > 1 else (0, p.float().contiguous().numpy().tobytes())
        head += text(name) + struct.pack("<I", p.dim()) + b"".join(struct.pack("<Q", n) for n in reversed(p.shape)) + struct.pack("<IQ", kind, offset)
        data += b"\0" * (-len(data) % 32)
        blobs.append(data)
        offset += len(data)
    with open(path + ".tmp", "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)))
        for k, (kind, v) in meta.items():
            f.write(text(k) + struct.pack("<I", kind) + v)
        f.write(head)
        f.write(b"\0" * (-f.tell() % 32))
        f.writelines(blobs)
    os.replace(path + ".tmp", path)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("shape")
    p.add_argument("out")
    p.add_argument("--minutes", type=float, default=5)
    p.add_argument("--opt", default="muon")
    p.add_argument("--lr", type=float, default=0.02)
    p.add_argument("--alr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=3000)
    p.add_argument("--qscale", type=float, default=0.3)
    p.add_argument("--aim", type=float, default=0.2)
    p.add_argument("--init", type=int, default=1)
    p.add_argument("--passages", default="1,2,3,4,6,8")
    p.add_argument("--rest", type=float, default=0.1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--every", type=float, default=45)
    p.add_argument("--cool", type=float, default=0.3)
    p.add_argument("--set", default="")
    p.add_argument("--resume", default="", help="a checkpoint (OUT.pt) whose weights to go on from")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    tok = Tokenizer.train(os.path.join(HERE, "merges.json"))
    shape = dict(SHAPES[a.shape])
    for kv in filter(None, a.set.split(",")):
        k, v = kv.split("=")
        shape[k] = type(shape[k])(float(v))
    model = Model(**shape)
    init(model, tok, a.init)
    if a.resume:
        model.load_state_dict(torch.load(a.resume)["model"])
    print(sum(q.numel() for q in model.parameters()), "parameters", vars(a), flush=True)
    mats = [q for l in model.layers for q in (l.qkv, l.o, l.gate_up, l.down)]
    rest = [q for q in model.parameters() if not any(q is m for m in mats)]
    if a.aim:
        L = shape["layers"]
        model.aims = [(1, 6, "e", "marker", a.aim), (1, 7, "e", "entity_e", a.aim), (1, 7, "q", "entity_q", a.aim)]
        model.aims += [(i, h, "q", what, a.aim) for i in range(2, L) for h, what in ((0, "value"), (6, "cite"))]
    if a.opt == "muon":
        muon = Muon(mats, a.lr)
        adam = torch.optim.AdamW(rest, lr=a.alr, betas=(0.9, 0.98), weight_decay=0.0)
    else:
        muon = None
        qkv = [l.qkv for l in model.layers]
        adam = torch.optim.AdamW([dict(params=[q for q in mats + rest if not any(q is x for x in qkv)], scale=1.0), dict(params=qkv, scale=a.qscale)], lr=a.alr, betas=(0.9, 0.98), weight_decay=0.01)
    r = random.Random(1000 + a.seed)
    step, seen, start, last, total = 0, 0, time.time(), time.time(), a.minutes * 60
    lossav, tdata = None, 0.0
    passages = [int(x) for x in a.passages.split(",")]
    while True:
        now = time.time() - start
        if now >= total:
            break
        sched = min(1, (step + 1) / 40) * min(1, (1 - now / total) / a.cool + 0.02)
        if muon:
            muon.lr = a.lr * sched
        for g in adam.param_groups:
            g["lr"] = a.alr * sched * g.get("scale", 1.0)
        t0 = time.time()
        b = batch_of(tok, r, passages, a.batch)
        tdata += time.time() - t0
        h = model(b)
        ans = b["w"] > 0
        loss = F.cross_entropy(model.logits(h[ans]), b["y"][ans])
        full = loss
        if a.rest:
            oth = b["rest"] & (torch.rand(b["rest"].shape) < 0.1)
            full = loss + a.rest * F.cross_entropy(model.logits(h[oth]), b["y"][oth])
        full.backward()
        nn.utils.clip_grad_norm_(rest, 1.0)
        if muon:
            muon.step()
        adam.step()
        for q in model.parameters():
            q.grad = None
        step += 1
        seen += b["ids"].numel()
        lossav = loss.item() if lossav is None else lossav * 0.97 + 0.03 * loss.item()
        if step == 1:
            print("initial loss", loss.item(), flush=True)
        if time.time() - last > a.every:
            el = time.time() - start
            ems = {n: exact_match(model, tok, 99, n, 150) for n in ((1, 4) if el < 400 else (1, 2, 4, 8))}
            print(f"step {step} {el:.0f}s {seen/1e6:.2f}M tok {seen/el:.0f}/s data {tdata/el:.2f} loss {lossav:.3f} " + " | ".join(f"{n}: " + " ".join(f"{k} {x:.2f}" for k, x in e.items()) for n, e in ems.items()), flush=True)
            start += time.time() - start - el  # evaluation does not count
            last = time.time()
            torch.save({"model": model.state_dict(), "shape": shape}, a.out + ".pt")
    ems = {n: exact_match(model, tok, 98, n, 600) for n in (1, 2, 4, 8)}
    print("final", " | ".join(f"{n}: " + " ".join(f"{k} {x:.3f}" for k, x in e.items()) for n, e in ems.items()), flush=True)
    torch.save({"model": model.state_dict(), "shape": shape}, a.out + ".pt")
    export(model, tok, a.out, f"evidence-{a.shape}")


if __name__ == "__main__":
    main()
