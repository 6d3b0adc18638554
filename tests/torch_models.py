"""Small models of PyTorch, of the kinds that people export, and what to feed them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Case:
    """A model to export.

    Attributes
    ----------
    make : callable
        Builds the module.
    feeds : callable
        Its inputs for a batch size, from a generator of random numbers.
    batched : tuple of bool
        For each input, whether its first axis is the batch.
    sizes : tuple of int
        Batch sizes to run.
    """

    make: Callable[[], nn.Module]
    feeds: Callable[[int, torch.Generator], tuple[Tensor, ...]]
    batched: tuple[bool, ...] = (True,)
    sizes: tuple[int, ...] = (1, 2, 5)


def normal(*shape: int) -> Callable[[int, torch.Generator], tuple[Tensor, ...]]:
    """Return a source of one normal input of a shape behind the batch."""
    return lambda n, rng: (torch.randn(n, *shape, generator=rng),)


def tokens(length: int, count: int) -> Callable[[int, torch.Generator], tuple[Tensor, ...]]:
    """Return a source of one sequence of numbers of words."""
    return lambda n, rng: (torch.randint(count, (n, length), generator=rng),)


class Residual(nn.Module):
    """A module and its input added up."""

    def __init__(self, inner: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut = shortcut if shortcut is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.shortcut(x)


class Function(nn.Module):
    """A function of the input and of modules."""

    def __init__(self, fn: Callable[..., object], *modules: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.parts = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> object:
        return self.fn(*self.parts, *inputs)


# ------------------------------------------------------------------------- images
def conv(ins: int, outs: int, kernel: int = 3, **options: object) -> nn.Sequential:
    padding = options.pop("padding", kernel // 2)
    layers = (nn.Conv2d(ins, outs, kernel, padding=padding, bias=False, **options), nn.BatchNorm2d(outs))
    return nn.Sequential(*layers, nn.ReLU())


def lenet() -> nn.Module:
    features = (nn.Conv2d(1, 4, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 8, 5), nn.Tanh())
    return nn.Sequential(*features, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 10), nn.Softmax(dim=1))


def vgg() -> nn.Module:
    return nn.Sequential(
        conv(3, 4),
        conv(4, 4),
        nn.MaxPool2d(2),
        conv(4, 8),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(32, 6),
    )


def resnet() -> nn.Module:
    down = nn.Sequential(nn.Conv2d(4, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8))
    narrow = nn.Sequential(conv(4, 8, stride=2), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
    stem = nn.Sequential(conv(3, 4), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(
        stem, Residual(conv(4, 4)), Residual(narrow, down), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def mobilenet() -> nn.Module:
    block = nn.Sequential(
        conv(4, 12, 1), conv(12, 12, groups=12), nn.Conv2d(12, 4, 1), nn.BatchNorm2d(4), nn.Hardswish()
    )
    return nn.Sequential(conv(3, 4, stride=2), Residual(block), nn.ReLU6(), nn.AdaptiveAvgPool2d(1))


def squeeze_excite() -> nn.Module:
    gate = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 2, 1), nn.SiLU(), nn.Conv2d(2, 6, 1), nn.Hardsigmoid()
    )
    return Function(lambda body, gate, x: body(x) * gate(body(x)), conv(3, 6), gate)


def densenet() -> nn.Module:
    def run(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
        x = torch.cat([x, first(x)], 1)
        return torch.cat([x, second(x)], 1).mean((2, 3))

    return Function(run, conv(3, 4), conv(7, 4, dilation=2, padding=2))


def inception() -> nn.Module:
    def run(one: nn.Module, three: nn.Module, pool: nn.Module, x: Tensor) -> Tensor:
        return torch.cat([one(x), three(x), pool(x)], dim=1)

    pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(3, 2, 1))
    factored = nn.Sequential(
        nn.Conv2d(3, 4, (1, 3), padding=(0, 1)), nn.Conv2d(4, 4, (3, 1), padding=(1, 0)), nn.ELU()
    )
    return Function(run, conv(3, 2, 1), factored, pool)


def unet() -> nn.Module:
    def run(down: nn.Module, deep: nn.Module, up: nn.Module, last: nn.Module, x: Tensor) -> Tensor:
        skip = down(x)
        found = up(deep(functional.max_pool2d(skip, 2)))
        return torch.sigmoid(last(torch.cat([skip, found], 1)))

    return Function(run, conv(1, 4), conv(4, 8), nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Conv2d(8, 1, 1))


def upsampler() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.PixelShuffle(2),
        nn.PReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.ReflectionPad2d(1),
        nn.Conv2d(3, 3, 3),
        nn.Upsample(scale_factor=2, mode="nearest"),
    )


class LayerNorm2d(nn.LayerNorm):
    """Normalization over channels."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    block = nn.Sequential(
        nn.Conv2d(8, 8, 7, padding=3, groups=8),
        LayerNorm2d(8),
        nn.Conv2d(8, 16, 1),
        nn.GELU(),
        nn.Conv2d(16, 8, 1),
    )
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4), LayerNorm2d(8), Residual(block), nn.AdaptiveAvgPool2d(1)
    )


def group_norms() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.InstanceNorm2d(8, affine=True), nn.LeakyReLU(0.1)
    )


def video() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(2)
    )


def waveform() -> nn.Module:
    block = nn.Sequential(
        nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(4, 4, 3, dilation=2), nn.GLU(dim=1), nn.Conv1d(2, 4, 1)
    )
    return nn.Sequential(nn.Conv1d(1, 4, 5, stride=2), Residual(block), nn.AvgPool1d(2, ceil_mode=True))


# ---------------------------------------------------------------- rows and sequences
def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.SELU(), nn.Linear(8, 3), nn.LogSoftmax(dim=-1)
    )


def autoencoder() -> nn.Module:
    def run(
        encoder: nn.Module, mean: nn.Module, scale: nn.Module, decoder: nn.Module, x: Tensor, noise: Tensor
    ) -> object:
        hidden = encoder(x)
        m, s = mean(hidden), scale(hidden)
        loss = -0.5 * (1 + s - m**2 - s.exp()).sum(dim=1)
        return decoder(m + noise * torch.exp(0.5 * s)), loss

    return Function(
        run,
        nn.Sequential(nn.Linear(12, 8), nn.Softplus()),
        nn.Linear(8, 3),
        nn.Linear(8, 3),
        nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 12), nn.Sigmoid()),
    )


def mixer() -> nn.Module:
    class Mix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.across = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
            self.within = nn.Sequential(
                nn.LayerNorm(6), nn.Linear(6, 12), nn.GELU(approximate="tanh"), nn.Linear(12, 6)
            )
            self.norm = nn.LayerNorm(6)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.across(self.norm(x).transpose(1, 2)).transpose(1, 2)
            return x + self.within(x)

    def run(embed: nn.Module, mix: nn.Module, x: Tensor) -> Tensor:
        return mix(embed(x).flatten(2).transpose(1, 2)).mean(dim=1)

    return Function(run, nn.Conv2d(3, 6, 4, stride=4), Mix())


class Recurrent(nn.Module):
    """A recurrent layer over words or rows, and a classifier of the last state."""

    def __init__(self, layer: nn.Module, width: int, words: int = 0) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 4) if words else nn.Identity()
        self.layer = layer
        self.last = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found, _ = self.layer(self.embed(x))
        return self.last(found[:, -1]), found


def stepped() -> nn.Module:
    def run(cell: nn.Module, x: Tensor, hidden: Tensor) -> Tensor:
        for k in range(3):
            hidden = cell(x[:, k], hidden)
        return hidden

    return Function(run, nn.GRUCell(4, 5))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.Sequential(nn.Embedding(11, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


class Attention(nn.Module):
    """Causal attention over several heads, written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.all = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        parts = self.all(x).view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, length, width))


def decoder() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(11, 8),
        Residual(nn.Sequential(nn.LayerNorm(8), Attention(8, 2))),
        nn.LayerNorm(8),
        nn.Linear(8, 11),
    )


def decoder_step() -> nn.Module:
    """Return one step of a decoder with keys and values of the steps before."""

    def run(all_: nn.Module, out: nn.Module, x: Tensor, keys: Tensor, values: Tensor) -> object:
        q, k, v = all_(x).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        found = functional.scaled_dot_product_attention(q, keys, values)
        return out(found.transpose(1, 2).flatten(2)), keys, values

    return Function(run, nn.Linear(6, 18), nn.Linear(6, 6))


def sdpa() -> nn.Module:
    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    return Function(run)


# ------------------------------------------------------------------ graphs and others
def graph_convolution() -> nn.Module:
    def run(inner: nn.Module, x: Tensor, edges: Tensor) -> Tensor:
        messages = inner(x)[edges[0]]
        total = torch.zeros(x.shape[0], 5).scatter_add(0, edges[1].unsqueeze(1).expand(-1, 5), messages)
        degree = torch.zeros(x.shape[0]).scatter_add(0, edges[1], torch.ones(edges.shape[1]))
        return torch.relu(total / degree.clamp(min=1).unsqueeze(1))

    return Function(run, nn.Linear(4, 5))


def _edges(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 4, generator=rng), torch.randint(n, (2, 9), generator=rng)


def reductions() -> nn.Module:
    def run(x: Tensor) -> object:
        values, where = torch.topk(x, 2, dim=-1)
        spread = x.var(dim=1, unbiased=False) + x.std(dim=2).mean(dim=1, keepdim=True)
        order = torch.argsort(x, dim=-1, descending=True)
        return (
            values,
            where,
            spread,
            order,
            x.norm(dim=2),
            x.logsumexp(dim=1),
            x.cumsum(dim=1),
            x.amax((1, 2)),
        )

    return Function(run)


def indexing() -> nn.Module:
    def run(x: Tensor, where: Tensor) -> object:
        picked = torch.gather(x, 1, where)
        changed = x.masked_fill(x > 0.5, 0.0)
        return (
            picked,
            changed[:, 1::2],
            changed.flip(1),
            torch.einsum("bi,bj->bij", x, x),
            x.roll(1, 1),
            x.tril(),
        )

    return Function(run)


def _picks(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 6, generator=rng), torch.randint(6, (n, 3), generator=rng)


def detector() -> nn.Module:
    """Return the head of a detector: boxes on a grid from offsets, and scores."""

    def run(head: nn.Module, x: Tensor) -> object:
        found = head(x)
        n, _, h, w = found.shape
        found = found.view(n, 2, 6, h, w).permute(0, 1, 3, 4, 2)
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        centre = (found[..., :2].sigmoid() + torch.stack([columns, rows], -1)) * 8
        size = found[..., 2:4].exp().clamp(max=10.0)
        scores, label = found[..., 4:].softmax(-1).max(dim=-1)
        return torch.cat([centre - size / 2, centre + size / 2], -1).reshape(n, -1, 4), scores, label

    return Function(run, nn.Conv2d(3, 12, 1))


def warp() -> nn.Module:
    def run(theta: nn.Module, x: Tensor) -> Tensor:
        grid = functional.affine_grid(theta(x).view(-1, 2, 3), [x.shape[0], 1, 6, 6], align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)

    return Function(run, nn.Sequential(nn.Flatten(), nn.Linear(36, 6)))


IMAGE = normal(3, 16, 16)
CASES: dict[str, Case] = {
    "lenet": Case(lenet, normal(1, 16, 16)),
    "vgg": Case(vgg, IMAGE),
    "resnet": Case(resnet, IMAGE),
    "mobilenet": Case(mobilenet, IMAGE),
    "squeeze and excite": Case(squeeze_excite, normal(3, 6, 6)),
    "densenet": Case(densenet, normal(3, 8, 8)),
    "inception": Case(inception, normal(3, 7, 7)),
    "unet": Case(unet, normal(1, 8, 8)),
    "upsampler": Case(upsampler, normal(3, 5, 4)),
    "convnext": Case(convnext, IMAGE),
    "group norms": Case(group_norms, normal(3, 8, 8)),
    "video": Case(video, normal(2, 4, 6, 6)),
    "waveform": Case(waveform, normal(1, 33)),
    "mlp": Case(mlp, normal(6)),
    "variational autoencoder": Case(
        autoencoder,
        lambda n, rng: (torch.randn(n, 12, generator=rng), torch.randn(n, 3, generator=rng)),
        (True, True),
    ),
    "mixer": Case(mixer, normal(3, 8, 8)),
    "lstm": Case(lambda: Recurrent(nn.LSTM(4, 5, batch_first=True), 5, 11), tokens(6, 11)),
    "lstm both ways, two layers": Case(
        lambda: Recurrent(nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True), 6), normal(5, 4)
    ),
    "gru": Case(lambda: Recurrent(nn.GRU(4, 5, batch_first=True), 5), normal(6, 4)),
    "rnn": Case(lambda: Recurrent(nn.RNN(4, 5, nonlinearity="relu", batch_first=True), 5), normal(6, 4)),
    "gru step by step": Case(
        stepped,
        lambda n, rng: (torch.randn(n, 3, 4, generator=rng), torch.randn(n, 5, generator=rng)),
        (True, True),
    ),
    "transformer encoder": Case(encoder, tokens(5, 11)),
    "transformer decoder": Case(decoder, tokens(5, 11)),
    "decoder step": Case(
        decoder_step,
        lambda n, rng: tuple(torch.randn(n, *s, generator=rng) for s in ((1, 6), (2, 4, 3), (2, 4, 3))),
        (True, True, True),
    ),
    "attention": Case(
        sdpa,
        lambda n, rng: tuple(torch.randn(n, 2, 4, 3, generator=rng) for _ in range(3)),
        (True, True, True),
    ),
    "graph convolution": Case(graph_convolution, _edges, (True, False), (3, 6)),
    "reductions": Case(reductions, normal(3, 4)),
    "indexing": Case(indexing, _picks, (True, True)),
    "detector": Case(detector, normal(3, 4, 5)),
    "spatial transformer": Case(warp, normal(1, 6, 6)),
}
# Also through torch.export, which writes other operators than the older exporter, and takes seconds.
EXPORTED = ("resnet", "convnext", "lstm", "transformer decoder", "decoder step", "indexing")
