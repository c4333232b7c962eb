"""Writes a trained model as GGUF version 3: matrices as F16, vectors as F32, data aligned to 32 bytes."""
import math
import os
import struct

from network import EPS
from tokenizer import CONTROL

ALIGNMENT = 32
CONTEXT = 4096  # declared; trained on up to about 600 positions
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5  # the format's numbers for types of values
NORMAL, CONTROL_TOKEN, UNUSED = 1, 3, 5  # and for types of tokens


def text(v):
    """A string as the format has it: its length, then its bytes."""
    return struct.pack("<Q", len(v.encode())) + v.encode()


def number(v):
    """An unsigned integer as a value of the metadata."""
    return U32, struct.pack("<I", v)


def real(v):
    """A float as a value of the metadata."""
    return F32, struct.pack("<f", v)


def string(v):
    """A string as a value of the metadata."""
    return STRING, text(v)


def array(kind, items):
    """An array of packed items as a value of the metadata."""
    return ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items)


def shape_metadata(shape, title):
    """What the engine needs to know of the network."""
    return {
        "general.architecture": string("qwen2"),
        "general.name": string(title),
        "general.file_type": number(1),  # mostly F16
        "general.alignment": number(ALIGNMENT),
        "qwen2.context_length": number(CONTEXT),
        "qwen2.embedding_length": number(shape["d"]),
        "qwen2.block_count": number(shape["layers"]),
        "qwen2.feed_forward_length": number(shape["ff"]),
        "qwen2.attention.head_count": number(shape["heads"]),
        "qwen2.attention.head_count_kv": number(shape["heads"]),
        "qwen2.attention.layer_norm_rms_epsilon": real(EPS),
        "qwen2.rope.freq_base": real(shape["base"]),
    }


def tokenizer_metadata(tok):
    """The tokenizer, and the chat template."""
    kind = lambda t: CONTROL_TOKEN if t in CONTROL else UNUSED if t.startswith("<|unused") else NORMAL
    return {
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string("qwen2"),
        "tokenizer.ggml.tokens": array(STRING, [text(t) for t in tok.tokens]),
        "tokenizer.ggml.token_type": array(I32, [struct.pack("<i", kind(t)) for t in tok.tokens]),
        "tokenizer.ggml.merges": array(STRING, [text(" ".join(m)) for m in tok.merges]),
        "tokenizer.ggml.bos_token_id": number(tok.id["<|endoftext|>"]),
        "tokenizer.ggml.eos_token_id": number(tok.id["<|im_end|>"]),
        "tokenizer.ggml.add_bos_token": (BOOL, struct.pack("<?", False)),
        "tokenizer.chat_template": string(TEMPLATE),
    }


def tensors_of(model):
    """(name, tensor) of all weights. Q is scaled: scores are as they are in training, and divided by sqrt(head size) in qwen2."""
    s = model.shape
    out = [("token_embd.weight", model.embed), ("output_norm.weight", model.norm), ("output.weight", model.head)]
    for i, layer in enumerate(model.layers):
        b = f"blk.{i}."
        out += [(b + "attn_norm.weight", layer.attn_norm), (b + "ffn_norm.weight", layer.ffn_norm)]
        for j, n in enumerate("qkv"):
            scale = math.sqrt(s["d"] // s["heads"]) if n == "q" else 1.0
            out += [(f"{b}attn_{n}.weight", layer.qkv[j] * scale), (f"{b}attn_{n}.bias", layer.qkv_bias[j] * scale)]
        out += [(b + "attn_output.weight", layer.o), (b + "ffn_gate.weight", layer.gate_up[0])]
        out += [(b + "ffn_up.weight", layer.gate_up[1]), (b + "ffn_down.weight", layer.down)]
    return out


def export(model, tok, path, title):
    """Writes the file at `path`, at once or not at all."""
    meta = shape_metadata(model.shape, title) | tokenizer_metadata(tok)
    infos, blobs, offset = b"", [], 0
    tensors = tensors_of(model)
    for name, p in tensors:
        p = p.detach()
        kind, p = (1, p.half()) if p.dim() > 1 else (0, p.float())
        data = p.contiguous().numpy().tobytes()
        infos += text(name) + struct.pack("<I", p.dim()) + b"".join(struct.pack("<Q", n) for n in reversed(p.shape))
        infos += struct.pack("<IQ", kind, offset)
        blobs.append(data + b"\0" * (-len(data) % ALIGNMENT))
        offset += len(blobs[-1])
    with open(path + ".tmp", "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)))
        for key, (kind, value) in meta.items():
            f.write(text(key) + struct.pack("<I", kind) + value)
        f.write(infos)
        f.write(b"\0" * (-f.tell() % ALIGNMENT))
        f.writelines(blobs)
    os.replace(path + ".tmp", path)
