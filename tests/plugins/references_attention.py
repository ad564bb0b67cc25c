"""References of the methods that read a transformer's attention (see
`tests.plugins.references`)."""

import math

import torch

from tests.plugins.references import reference


def attended(block, tokens):
    """Probabilities p[head][query][key] and values v[head][key][channel] of one block, by loops."""
    n, inner = len(tokens), tokens.shape[1] // block.heads
    rows = block.qkv(block.norm1(tokens)).tolist()
    p, v = [], []
    for h in range(block.heads):
        q, k, values = (
            [row[part * tokens.shape[1] + h * inner :][:inner] for row in rows] for part in range(3)
        )
        v.append(values)
        p.append([])
        for i in range(n):
            seen = [
                math.exp(sum(s * t for s, t in zip(q[i], k[j], strict=True)) / math.sqrt(inner))
                for j in range(n)
            ]
            p[h].append([s / math.fsum(seen) for s in seen])
    return torch.tensor(p, dtype=torch.float64), torch.tensor(v, dtype=torch.float64)


def behind(block, tokens, p, v):
    """What the block puts out where its probabilities are p."""
    tokens = tokens + block.proj((p @ v).transpose(-3, -2).flatten(-2))
    return tokens + block.down(torch.nn.functional.gelu(block.up(block.norm2(tokens))))


def walked(model, x):
    """Each block with the tokens that enter it, its probabilities and its values."""
    tokens, found = model.embed(x[None])[0], []
    for block in model.blocks:
        found.append((block, tokens, *attended(block, tokens)))
        tokens = behind(*found[-1])
    assert torch.allclose(model.head(tokens[None]), model(x[None]), atol=1e-12)
    return found


def on_image(values, x):
    """Those of the patches, the class token's left out, as rows of 2x2 pixels' patches."""
    width = x.shape[2] // 2
    return [values[1 + i * width :][:width] for i in range(x.shape[1] // 2)]


@reference("attention_rollout")
@torch.no_grad()
def attention_rollout(model, x, c):
    """The whole product, from the first layer on."""
    flow = None
    for block, _, p, _ in walked(model, x):
        p, n = p.tolist(), p.shape[1]
        mixed = [
            [sum(p[h][i][j] for h in range(block.heads)) / block.heads for j in range(n)]
            for i in range(n)
        ]
        mixed = [[0.5 * mixed[i][j] + 0.5 * (i == j) for j in range(n)] for i in range(n)]
        if flow is not None:
            mixed = [
                [sum(mixed[i][k] * flow[k][j] for k in range(n)) for j in range(n)]
                for i in range(n)
            ]
        flow = mixed
    return on_image(flow[0], x)


@reference("legrad")
@torch.no_grad()
def legrad(model, x, c):
    """Central differences by each probability: nothing here knows backpropagation."""
    step, layers = 1e-4, walked(model, x)
    found = [0.0] * len(layers[0][1])
    for block, tokens, p, v in layers:
        for h in range(p.shape[0]):
            for i in range(p.shape[1]):
                y = []
                for side in (step, -step):
                    moved = p.repeat(p.shape[2], 1, 1, 1)  # each of them at another key
                    moved[:, h, i] += side * torch.eye(p.shape[2], dtype=p.dtype)
                    mean = behind(block, tokens, moved, v).mean(1, keepdim=True)
                    y.append(model.head(mean)[:, c].tolist())
                for j, (up, down) in enumerate(zip(*y, strict=True)):
                    found[j] += max(0.0, (up - down) / (2 * step)) / (
                        p.shape[0] * p.shape[1] * len(layers)
                    )
    return on_image(found, x)
