"""The optimisers of all training here: Muon for convolutions and AdamW for everything else, or Adam for all.

They are plain classes because creating a torch.optim.Optimizer imports torch's compiler, which slows the start of every
training job (docs/measurements.md).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Coefficients of the quintic Newton-Schulz iteration, as in torch.optim.Muon.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon:
    """Momentum, orthogonalised: each weight moves by a matrix whose singular values are all about 1.

    https://kellerjordan.github.io/posts/muon/. Unlike torch.optim.Muon, it takes the weights of convolutions,
    (out, in, kh, kw) as a matrix (out, in * kh * kw), and it computes in the weights' own precision, because torch's
    bfloat16 is slow on CPUs that have to emulate it (docs/measurements.md). No weight decay.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, newton_schulz_steps: int = 5):
        self.params, self.lr = list(params), lr
        self.momentum, self.newton_schulz_steps = momentum, newton_schulz_steps
        self.buffers = [torch.zeros_like(weight) for weight in self.params]

    @torch.no_grad()
    def step(self) -> None:
        for weight, buffer in zip(self.params, self.buffers, strict=True):
            buffer.lerp_(weight.grad, 1 - self.momentum)
            update = weight.grad.lerp(buffer, self.momentum).flatten(1)  # Nesterov
            rows, columns = update.shape
            update = orthogonalise(update, self.newton_schulz_steps).view_as(weight)
            weight.add_(update, alpha=-self.lr * max(1, rows / columns) ** 0.5)

    def state_dict(self) -> dict[str, Tensor]:
        """The optimiser's tensors, by name."""
        return {f"{i}.momentum_buffer": buffer for i, buffer in enumerate(self.buffers)}


class AdamW:
    """Adam (https://arxiv.org/abs/1412.6980): the same numbers as torch.optim.AdamW without weight decay."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.99), eps: float = 1e-8
    ):
        self.params, self.lr, self.betas, self.eps = list(params), lr, betas, eps
        self.means = [torch.zeros_like(weight) for weight in self.params]
        self.squares = [torch.zeros_like(weight) for weight in self.params]
        self.steps = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        grads, (beta_1, beta_2) = [weight.grad for weight in self.params], self.betas
        torch._foreach_lerp_(self.means, grads, 1 - beta_1)
        torch._foreach_mul_(self.squares, beta_2)
        torch._foreach_addcmul_(self.squares, grads, grads, 1 - beta_2)
        deviations = torch._foreach_sqrt(self.squares)
        torch._foreach_div_(deviations, (1 - beta_2 ** int(self.steps)) ** 0.5)
        torch._foreach_add_(deviations, self.eps)
        torch._foreach_addcdiv_(self.params, self.means, deviations, -self.lr / (1 - beta_1 ** int(self.steps)))

    def state_dict(self) -> dict[str, Tensor]:
        """The optimiser's tensors, by name."""
        means = {f"{i}.exp_avg": tensor for i, tensor in enumerate(self.means)}
        return means | {f"{i}.exp_avg_sq": tensor for i, tensor in enumerate(self.squares)} | {"step": self.steps}


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """The matrix (M, N) with its singular values brought close to 1 (0.7 .. 1.2), by the Newton-Schulz iteration.

    X <- (a + b X X^T + c (X X^T)^2) X, repeated. The factors are polynomials of the first X X^T, so they commute: they
    are multiplied with each other as small square matrices, and with X only at the end. This takes less time than the
    textbook loop (docs/measurements.md).
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalise(matrix.T, steps).T
    a, b, c = NEWTON_SCHULZ
    x = matrix / matrix.norm().clamp(min=1e-7)
    gram = x @ x.T  # (M, M)
    identity = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    product = identity
    for _ in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c).add_(identity, alpha=a)
        product = factor @ product
        gram = factor @ gram @ factor
    return product @ x


def make_optimizers(network: nn.Module, optimizer: str, muon_lr: float, adamw_lr: float) -> dict[str, Muon | AdamW]:
    """The optimisers of a network by name: "adam" is AdamW for all of it, with Adam's usual betas; "muon" is Muon for the
    convolutions inside the network and AdamW for the rest.

    The rest is norms, biases, embeddings, linear layers, and the first and the last convolution, which read or write
    pixels. Raises ValueError for another name.
    """
    if optimizer == "adam":
        return {"adamw": AdamW(network.parameters(), adamw_lr, betas=(0.9, 0.999))}
    if optimizer != "muon":
        raise ValueError(f"unknown optimizer {optimizer!r}; known: muon, adam")
    convolutions = [p for p in network.parameters() if p.ndim == 4][1:-1]
    inside = {id(p) for p in convolutions}
    rest = [p for p in network.parameters() if id(p) not in inside]
    return {"muon": Muon(convolutions, muon_lr), "adamw": AdamW(rest, adamw_lr)}
