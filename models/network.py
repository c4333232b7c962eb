"""The network that is trained: a decoder of the qwen2 architecture whose questions share their evidence.

A batch lies flat: first the evidence of all examples, then every question with its answer. A question attends to its
evidence and to itself; so one pass over the evidence serves many questions. Matrices are used in bfloat16.
"""
import dataclasses

import torch
import torch.nn as nn
import torch.nn.functional as F

from tokenizer import VOCABULARY

BF = torch.bfloat16
EPS = 1e-5


@dataclasses.dataclass
class Layout:
    """How a batch lies: `examples` times `evidence` positions, then of each example `questions` rows of `row`."""

    examples: int
    evidence: int
    questions: int
    row: int
    lengths: torch.Tensor  # of each example's evidence, the rest of which is padding

    def __post_init__(self):
        """Makes the masks, which are added to scores: 0 where a key may be seen, else a large negative number."""
        mask = lambda keep: torch.zeros(keep.shape, dtype=BF).masked_fill_(~keep, -1e4)
        lower = lambda n: mask(torch.ones(n, n, dtype=torch.bool).tril())
        self.causal_evidence, self.causal_row = lower(self.evidence), lower(self.row)
        self.padding = mask(torch.arange(self.evidence) < self.lengths[:, None])[:, None, None]


@dataclasses.dataclass
class Aim:
    """Where one head should look: `rows` and `keys` hold (example, row, first key, end of keys), one column each.

    Rows and keys count within the evidence (`of` is "evidence"), or rows within all rows of an example's questions
    and keys within the evidence followed by the question itself (`of` is "questions").
    """

    head: int
    of: str
    where: torch.Tensor
    weight: float

    def gradient(self, p):
        """The gradient, with respect to scores, of -log(attention on the keys aimed at), averaged over the rows.

        `p` holds the attention of the aim's rows, one row each.
        """
        _, _, first, end = self.where
        keys = torch.arange(p.shape[-1])
        inside = p * ((keys >= first[:, None]) & (keys < end[:, None]))
        return (p - inside / (inside.sum(-1, keepdim=True) + 1e-9)) * (self.weight / (len(first) or 1))


class Attend(torch.autograd.Function):
    """Causal attention of the evidence over itself (e), and of each question over its evidence and itself (q).

    Written by hand because aims add to the gradient of the scores, which automatic differentiation would have to keep.
    Evidence is (examples * heads, evidence, head size); questions are (examples * heads, questions * row, head size).
    """

    @staticmethod
    def forward(ctx, qe, ke, ve, qq, kq, vq, lay, aims):
        """Returns the attended values of evidence and questions. Scores are not scaled: the weights hold that."""
        n, hd, questions, row = qe.shape[0], qe.shape[2], lay.questions, lay.row
        split = (lay.examples, n // lay.examples, questions * row)
        own = lambda z: z.view(n * questions, row, hd)
        pe = torch.bmm(qe, ke.transpose(1, 2)).add_(lay.causal_evidence)
        pe = torch.softmax(pe, -1)
        ze = torch.bmm(pe, ve)
        s = torch.empty(n, questions * row, lay.evidence + row, dtype=qe.dtype)
        over_evidence = torch.bmm(qq, ke.transpose(1, 2)).view(*split, lay.evidence)
        torch.add(over_evidence, lay.padding, out=s.view(*split, -1)[..., : lay.evidence])
        over_row = torch.bmm(own(qq), own(kq).transpose(1, 2)).view(n, questions, row, row)
        torch.add(over_row, lay.causal_row, out=s.view(n, questions, row, -1)[..., lay.evidence :])
        s = torch.softmax(s, -1)
        p1, p2 = s[..., : lay.evidence].contiguous(), s[..., lay.evidence :].reshape(n * questions, row, row)
        zq = torch.bmm(p1, ve) + torch.bmm(p2, own(vq)).view(n, questions * row, hd)
        ctx.save_for_backward(qe, ke, ve, qq, kq, vq, pe, p1, p2, ze, zq)
        ctx.lay, ctx.aims = lay, aims
        return ze, zq

    @staticmethod
    def backward(ctx, de, dq):
        """The softmax's gradient as in FlashAttention (Dao et al., 2022): dS = P * (dP - rowsum(dO * O)), plus aims."""
        qe, ke, ve, qq, kq, vq, pe, p1, p2, ze, zq = ctx.saved_tensors
        questions, row = ctx.lay.questions, ctx.lay.row
        n, _, hd = qe.shape
        own = lambda z: z.reshape(n * questions, row, hd)
        rows = lambda z: z.view(n, questions * row, hd)
        t = lambda z: z.transpose(1, 2)
        ds = torch.bmm(de, t(ve)).sub_((de * ze).sum(-1, keepdim=True)).mul_(pe)
        dot = (dq * zq).sum(-1, keepdim=True)
        d1 = torch.bmm(dq, t(ve)).sub_(dot).mul_(p1)
        d2 = torch.bmm(own(dq), t(own(vq))).sub_(dot.reshape(n * questions, row, 1)).mul_(p2)
        add_aims(ctx, ds, d1, d2)
        dqe = torch.bmm(ds, ke)
        dke = torch.bmm(t(ds), qe) + torch.bmm(t(d1), qq)
        dve = torch.bmm(t(pe), de) + torch.bmm(t(p1), dq)
        dqq = torch.bmm(d1, ke) + rows(torch.bmm(d2, own(kq)))
        dkq = rows(torch.bmm(t(d2), own(qq)))
        dvq = rows(torch.bmm(t(p2), own(dq)))
        return dqe, dke, dve, dqq, dkq, dvq, None, None


def add_aims(ctx, ds, d1, d2):
    """Adds the gradients of the aims to those of the scores: evidence, questions over evidence, over themselves."""
    pe, p1, p2 = ctx.saved_tensors[6:9]
    lay = ctx.lay
    for aim in ctx.aims:
        example, i = aim.where[0], aim.where[1]
        head = example * (pe.shape[0] // lay.examples) + aim.head
        if aim.of == "evidence":
            ds[head, i] += aim.gradient(pe[head, i].float()).to(ds.dtype)
        else:
            question, at = head * lay.questions + i // lay.row, i % lay.row
            g = aim.gradient(torch.cat((p1[head, i], p2[question, at]), -1).float()).to(ds.dtype)
            d1[head, i] += g[:, : lay.evidence]
            d2[question, at] += g[:, lay.evidence :]


def norm(x, weight):
    """RMS norm (Zhang and Sennrich, 2019)."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


class Layer(nn.Module):
    """One decoder layer: attention with biases on Q, K and V, then SwiGLU."""

    def __init__(self, d, heads, ff):
        super().__init__()
        self.heads, self.hd = heads, d // heads
        self.attn_norm, self.ffn_norm = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.qkv = nn.Parameter(torch.empty(3, d, d))
        self.qkv_bias = nn.Parameter(torch.zeros(3, d))
        self.o = nn.Parameter(torch.empty(d, d))
        self.gate_up = nn.Parameter(torch.empty(2, ff, d))
        self.down = nn.Parameter(torch.empty(d, ff))

    def forward(self, x, cos, sin, lay, aims=()):
        """`x` is (positions of the batch, width), float32, and so is the result."""
        n, d = x.shape
        h = norm(x, self.attn_norm).to(BF)
        y = F.linear(h, self.qkv.to(BF).view(3 * d, d), self.qkv_bias.to(BF).view(-1)).view(n, 3, self.heads, self.hd)
        a, c = y[:, :2].chunk(2, -1)
        qk = torch.cat((a * cos - c * sin, a * sin + c * cos), -1)  # rotates halves: the layout of qwen2
        x = x + F.linear(self.attend(qk, y[:, 2], lay, aims), self.o.to(BF)).float()
        h = norm(x, self.ffn_norm).to(BF)
        ff = self.down.shape[1]
        g, u = F.linear(h, self.gate_up.to(BF).view(2 * ff, d)).chunk(2, -1)
        return x + F.linear(F.silu(g) * u, self.down.to(BF)).float()

    def attend(self, qk, v, lay, aims):
        """Sorts rows by example and head for Attend, and its results back."""
        examples, heads, hd = lay.examples, self.heads, self.hd
        cut, per = examples * lay.evidence, lay.questions * lay.row
        part = lambda z, t: z.view(examples, t, heads, hd).transpose(1, 2).reshape(examples * heads, t, hd)
        join = lambda z, t: z.view(examples, heads, t, hd).transpose(1, 2).reshape(examples * t, heads * hd)
        evidence = [part(z[:cut], lay.evidence) for z in (qk[:, 0], qk[:, 1], v)]
        questions = [part(z[cut:], per) for z in (qk[:, 0], qk[:, 1], v)]
        ze, zq = Attend.apply(*evidence, *questions, lay, aims)
        return torch.cat((join(ze, lay.evidence), join(zq, per)))


class Model(nn.Module):
    """The decoder. `aims` holds (layer, head, "evidence" or "questions", name of the batch's aim, weight)."""

    def __init__(self, d, layers, heads, ff, base):
        super().__init__()
        self.shape = dict(d=d, layers=layers, heads=heads, ff=ff, base=base)
        self.embed = nn.Parameter(torch.randn(VOCABULARY, d) * 0.05)
        self.layers = nn.ModuleList(Layer(d, heads, ff) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(d))
        self.head = nn.Parameter(torch.empty(VOCABULARY, d))
        self.aims = []

    def frequencies(self):
        """Rotary angles per position (Su et al., 2021), one for each pair of a head's elements."""
        hd = self.shape["d"] // self.shape["heads"]
        return self.shape["base"] ** (-torch.arange(0, hd, 2).float() / hd)

    def forward(self, batch):
        """The last hidden state of every position of the batch."""
        angle = batch["positions"][..., None].float() * self.frequencies()
        cos, sin = angle.cos()[:, None, None].to(BF), angle.sin()[:, None, None].to(BF)
        x = F.embedding(batch["ids"], self.embed)
        for i, layer in enumerate(self.layers):
            mine = [a for a in self.aims if a[0] == i] if torch.is_grad_enabled() else ()
            aims = [Aim(head, of, batch["aims"][name], weight) for _, head, of, name, weight in mine]
            x = layer(x, cos, sin, batch["layout"], aims)
        return norm(x, self.norm)

    def logits(self, h):
        """Scores of the vocabulary after the hidden states `h`, float32."""
        return F.linear(h.to(BF), self.head.to(BF)).float()
