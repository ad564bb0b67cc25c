"""Small detectors with random weights, each in a form and with the habits of a real family."""

import copy
import functools

import torch
from torch import Tensor, nn

CLASSES = 4
STRIDES = (8, 16, 32)
ANCHORS = torch.tensor([[8.0, 12.0], [16.0, 14.0], [24.0, 30.0]])


class Unit(nn.Module):
    """A convolution, batch normalisation, and a SiLU that writes over its input."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))

    def fuse(self) -> None:
        """Folds the batch normalisation into the convolution, as copies made for prediction are."""
        scale = self.bn.weight / (self.bn.running_var + self.bn.eps).sqrt()
        fused = nn.Conv2d(self.conv.in_channels, self.conv.out_channels, 3, self.conv.stride, 1)
        fused.weight.data = self.conv.weight.data * scale[:, None, None, None]
        fused.bias.data = self.bn.bias.data - self.bn.running_mean * scale.detach()
        self.conv, self.bn = fused, nn.Identity()


class Detector(nn.Module):
    """`model[:-1]` puts out three levels, `model[-1]` is the head and tells in `f` where its inputs
    come from."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        sizes = [(3, 8, 2), (8, 8, 2), (8, 12, 2), (12, 16, 2), (16, 16, 2)]
        head.f = [2, 3, 4]
        self.model = nn.Sequential(*(Unit(*size) for size in sizes), head)

    def forward(self, x: Tensor) -> object:
        kept = []
        for module in self.model[:-1]:
            x = module(x)
            kept.append(x)
        return self.model[-1]([kept[i] for i in self.model[-1].f])


class ClassicHead(nn.Module):
    """Anchors and objectness; writes its raw maps into the list it is given,
    and keeps its grids in a list."""

    def __init__(self, extra: int = 0, alone: bool = False) -> None:
        super().__init__()
        self.nc, self.no, self.alone = CLASSES, 5 + CLASSES + extra, alone
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * self.no, 1) for c in (12, 16, 16))
        self.grid: list[Tensor] = [torch.empty(0)] * 3

    def forward(self, x: list[Tensor]) -> object:
        z = []
        for i in range(3):
            x[i] = self.m[i](x[i])
            b, _, h, w = x[i].shape
            x[i] = x[i].view(b, 3, self.no, h, w).permute(0, 1, 3, 4, 2).contiguous()
            if self.training:
                continue
            if self.grid[i].shape[:2] != (h, w):
                rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
                self.grid[i] = torch.stack([columns, rows], 2).to(x[i].dtype)
            s = x[i].sigmoid()
            centre = (2 * s[..., :2] - 0.5 + self.grid[i]) * STRIDES[i]
            size = (2 * s[..., 2:4]) ** 2 * ANCHORS[:, None, None].to(s.dtype) * (i + 1)
            probabilities = torch.cat([s[..., 4 : 5 + self.nc], x[i][..., 5 + self.nc :]], 4)
            z.append(torch.cat([centre, size, probabilities], 4).view(b, -1, self.no))
        if self.training:
            return x
        return torch.cat(z, 1) if self.alone else (torch.cat(z, 1), x)


class FreeHead(nn.Module):
    """No anchors, no objectness; a dictionary in training mode,
    and anchor points cached on first use.

    `form` is what stands beside the table [b,4+k,n]: "dictionary", "maps", "nothing"; "end2end"
    gives the best 30; "one2many" and "one2one" are the branches of a head that has both, and the
    table is made of the one named.
    """

    def __init__(self, form: str = "dictionary", extra: int = 0) -> None:
        super().__init__()
        self.nc, self.form, self.extra = CLASSES, form, extra
        self.m = nn.ModuleList(nn.Conv2d(c, 4 + CLASSES + extra, 1) for c in (12, 16, 16))
        both = (12, 16, 16) if form.startswith("one2") else ()
        self.other = nn.ModuleList(nn.Conv2d(c, 4 + CLASSES, 1) for c in both)
        self.points = torch.empty(0)
        self.shape: tuple[int, ...] | None = None

    def forward(self, x: list[Tensor]) -> object:
        maps = [layer(v) for layer, v in zip(self.m, x, strict=True)]
        flat = torch.cat([v.flatten(2) for v in maps], 2)
        raw = {"boxes": flat[:, :4], "scores": flat[:, 4 : 4 + self.nc], "feats": x}
        if self.training:
            return raw
        if self.shape != tuple(maps[0].shape):
            self.points, self.shape = self._points(maps), tuple(maps[0].shape)
        centre, stride = self.points[:2], self.points[2]
        low, high = (centre - flat[:, :2].exp()) * stride, (centre + flat[:, 2:4].exp()) * stride
        boxes = torch.cat([(low + high) / 2, high - low], 1)
        table = torch.cat([boxes, raw["scores"].sigmoid(), flat[:, 4 + self.nc :]], 1)
        if self.form == "end2end":
            scores, labels = table[:, 4 : 4 + self.nc].max(1)
            best, index = scores.topk(30)
            rows = (
                torch.cat([low, high], 1)
                .transpose(1, 2)
                .gather(1, index[:, :, None].expand(-1, -1, 4))
            )
            return torch.cat(
                [rows, best[:, :, None], labels.gather(1, index)[:, :, None].to(rows.dtype)], 2
            )
        if self.form in ("one2many", "one2one"):
            others = torch.cat(
                [layer(v).flatten(2) for layer, v in zip(self.other, x, strict=True)], 2
            )
            second = {"boxes": others[:, :4], "scores": others[:, 4 : 4 + self.nc]}
            named = ("one2many", "one2one") if self.form == "one2many" else ("one2one", "one2many")
            branches = dict(zip(named, (raw, second), strict=True))
            return table, {name: branches[name] for name in ("one2many", "one2one")}
        # the raw maps have their classes last
        beside = {
            "dictionary": raw,
            "maps": [torch.cat([v[:, :4], v[:, 4 : 4 + self.nc]], 1) for v in maps],
        }
        return table if self.form == "nothing" else (table, beside[self.form])

    def _points(self, maps: list[Tensor]) -> Tensor:
        found = []
        for v, stride in zip(maps, STRIDES, strict=True):
            h, w = v.shape[2:]
            rows, columns = torch.meshgrid(
                torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij"
            )
            found.append(
                torch.stack(
                    [columns.flatten(), rows.flatten(), torch.full((h * w,), float(stride))]
                )
            )
        return torch.cat(found, 1).to(maps[0].dtype)


class RememberingHead(FreeHead):
    """Weights the places of its maps, and keeps the weights of the size it saw last,
    for all heads there are."""

    def forward(self, x: list[Tensor]) -> object:
        return super().forward([v * self.ramp(tuple(v.shape[2:])) for v in x])

    @staticmethod
    @functools.lru_cache(maxsize=3)
    def ramp(size: tuple[int, int]) -> Tensor:
        h, w = size
        return torch.linspace(0.5, 1.5, h, dtype=torch.float64)[:, None] + torch.linspace(
            0, 1, w, dtype=torch.float64
        )


class Transformer(nn.Module):
    """The form of DETR and its kin: logits and pred_boxes in a dictionary;
    `config` knows the number of labels."""

    def __init__(self, softmax: bool, config: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(Unit(3, 8, 2), Unit(8, 16, 2), Unit(16, 16, 2))
        self.query = nn.Parameter(torch.randn(12, 16))
        self.classes = nn.Linear(16, CLASSES + softmax)
        self.boxes = nn.Linear(16, 4)
        if config:
            self.config = type("Config", (), {"num_labels": CLASSES})()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        tokens = self.body(images).flatten(2).transpose(1, 2)
        weights = (self.query @ tokens.transpose(1, 2) / 4).softmax(2)
        x = weights @ tokens + self.query
        return {"logits": self.classes(x), "pred_boxes": self.boxes(x).sigmoid()}


class Backend(nn.Module):
    """What a package holds its network in for prediction."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model, self.pt = network, True

    def forward(self, images: Tensor) -> object:
        return self.model(images)


class AutoShaped(nn.Module):
    """Around that: pictures in, suppressed boxes out, all of it in inference mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model, self.dmb = Backend(network), True

    @torch.inference_mode()
    def forward(self, images: Tensor) -> list[Tensor]:
        table = self.model(images)[0]
        return [rows[rows[:, 4] > 0.25] for rows in table]


class Predictor(nn.Module):
    """A third kind: it predicts with a copy, fused and frozen,
    and the network itself stays in training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model, self.predictor = network.train(), None

    def predict(self, images: Tensor) -> object:
        network = copy.deepcopy(self.model)
        for module in network.model[:-1]:
            module.fuse()
        network = network.double().eval().requires_grad_(False)
        self.predictor = type("Holder", (), {"model": Backend(network)})()
        with torch.inference_mode():
            return self.predictor.model(images)


def awake(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics at random, so that candidates differ;
    in evaluation mode and float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            scale = 0.6 if p.dim() > 1 else 0.3
            p.copy_(
                torch.randn(p.shape, generator=generator)
                * scale
                / (p[0].numel() ** 0.5 if p.dim() > 1 else 1)
            )
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(
                    0.2 * torch.randn(module.num_features, generator=generator)
                )
                module.running_var.copy_(
                    0.05 + 0.2 * torch.rand(module.num_features, generator=generator)
                )
                module.weight.copy_(1 + 0.2 * torch.randn(module.num_features, generator=generator))
    return model.double().eval()


def quiet(model: nn.Module, by: float = 5.0) -> nn.Module:
    """A detector whose confidences are all far below those that count as a detection."""
    head = model.model[-1]
    with torch.no_grad():
        for layer in head.m:
            columns = 4 + CLASSES + head.extra if isinstance(head, FreeHead) else head.no
            layer.bias.view(-1, columns)[:, 4:].sub_(by)
    return model


def photographs(b: int = 1, seed: int = 1, size: tuple[int, int] = (64, 96)) -> Tensor:
    return torch.rand(
        b, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
