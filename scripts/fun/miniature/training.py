"""Training of the miniature cascade: first the text encoder alone, then both stages on its frozen embeddings.

The stages are trained like the MNIST U-Nets (fun.training.trainer), with one more term: the variational bound, which
teaches the variance channels where the variance of a step lies between its two bounds (Nichol and Dhariwal 2021,
https://arxiv.org/abs/2102.09672).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fun.diffusion.sampling import learned_log_variance
from fun.diffusion.schedule import NoiseSchedule
from fun.miniature.networks import EMBEDDING, TOKENS
from fun.miniature.pictures import COLOURS, DIGITS, PROMPTS, Batch
from fun.training.trainer import Trainer, stratified_timesteps

NO_PROMPT = 0  # the index of the empty prompt in PROMPTS
MAX_NOISE_LEVEL = 400  # stage II is trained with enlarged small pictures noised to 0 .. 399
VARIATIONAL_WEIGHT = 0.01  # of the bound, in bits per dimension, relative to the squared error


def tokenise(tokenizer) -> tuple[Tensor, Tensor]:
    """Tokens of all PROMPTS and their mask, (P, 77) each."""
    texts = [prompt.text for prompt in PROMPTS]
    tokens = tokenizer(texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    return tokens.input_ids, tokens.attention_mask


def train_text_encoder(
    encoder: nn.Module, tokens: Tensor, mask: Tensor, steps: int, seed: int, held_out: int = 200
) -> Iterator[tuple[float, float]]:
    """Teach a T5 encoder to recognise what a prompt names: digit, foreground and background (or that it names none), each
    with a linear layer on the mean of its output, padding included.

    Yields the loss of each step, and the share of held-out prompts with all three right (NaN before the last step).
    """
    generator = torch.Generator().manual_seed(seed)
    named = torch.tensor([prompt[1:] for prompt in PROMPTS])
    classes = torch.tensor([len(DIGITS), len(COLOURS), len(COLOURS)])
    targets = torch.where(named < 0, classes, named)  # "unnamed" is a class of its own
    heads = nn.ModuleList(nn.Linear(EMBEDDING, int(n) + 1) for n in classes)
    held, seen = torch.randperm(len(PROMPTS), generator=generator).split([held_out, len(PROMPTS) - held_out])
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=3e-3, weight_decay=0.01)

    def logits(chosen):
        mean = encoder(tokens[chosen], attention_mask=mask[chosen]).last_hidden_state.mean(1)
        return [head(mean) for head in heads]

    encoder.train()
    for step in range(steps):
        chosen = seen[torch.randint(len(seen), (64,), generator=generator)]
        loss = sum(F.cross_entropy(a, targets[chosen, i]) for i, a in enumerate(logits(chosen)))
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step < steps - 1:
            yield loss.item(), float("nan")
    encoder.eval()
    with torch.no_grad():
        right = torch.stack([a.argmax(1) == targets[held, i] for i, a in enumerate(logits(held))]).all(0)
    yield loss.item(), right.float().mean().item()


@torch.no_grad()
def embed(encoder: nn.Module, tokens: Tensor, mask: Tensor) -> Tensor:
    """The embeddings of all prompts, (P, 77, 64), computed in advance so that training never runs the encoder."""
    chunks = zip(tokens.split(128), mask.split(128), strict=True)
    return torch.cat([encoder(ids, attention_mask=seen).last_hidden_state for ids, seen in chunks])


def stage_1_pictures(batch: Batch) -> Tensor:
    """(N, 3, 16, 16): the pictures that stage I learns to draw."""
    return F.avg_pool2d(batch.pictures, 2)


def variational_bound(schedule: NoiseSchedule, x_0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor, v: Tensor) -> Tensor:
    """KL(q(x_t-1 | x_t, x_0) || p(x_t-1 | x_t)) in bits per dimension, mean over images and pixels, for single steps.

    Args:
        t: (N,) int64; images of t = 0 count as 0, because that step adds no noise.
        noise: the network's estimate, detached by the caller.
        v: (N, 3, H, W), the raw variance channels.
    """
    alone, t = t == 0, t.clamp(min=1)
    beta, beta_tilde = schedule.stride(t, t - 1)
    estimate = schedule.predict_x_start(x_t, t, noise).clamp(-1, 1)
    low, high = _column(beta_tilde.log(), x_0), _column(beta.log(), x_0)
    log_variance = learned_log_variance(v, high, low)
    # The two means differ by the error of the estimated x_0, times its coefficient in the posterior.
    error = _column(schedule.posterior_coefficients(t, t - 1)[0], x_0) * (x_0 - estimate)
    kl = (log_variance - low - 1 + (low - log_variance).exp() + error.square() * (-log_variance).exp()) / 2
    return (kl * _column(~alone, x_0)).mean() / torch.log(torch.tensor(2.0))


def _column(values, like):
    """(N,) -> (N, 1, 1, 1) of like's dtype and device."""
    return values.to(like.device, like.dtype).view(-1, 1, 1, 1)


class CascadeTrainer(Trainer):
    """Trains a stage: `train_epoch(pictures, prompts, batch_size)`, with prompts (N,) int64 as indices of `embeds`.

    Args:
        network: the U-Net of stage I (3 channels in) or II (6).
        embeds: (P, 77, 64), the embedding of each of PROMPTS.
        bfloat16: run the network in bfloat16, with its weights in float32: 1.3 to 1.4 times as fast on a CPU that has
            the instructions (avx512_bf16), many times slower on one that lacks them.
        training: see Trainer.
    """

    def __init__(self, network: nn.Module, embeds: Tensor, **training):
        super().__init__(network, **training)
        self.schedule = NoiseSchedule.cosine(1000)
        self.embeds = embeds

    def loss(self, x_0: Tensor, prompts: Tensor, *reference: Tensor) -> Tensor:
        """Mean squared error of the v-prediction, and the variational bound, which trains the variance alone."""
        t = stratified_timesteps(len(x_0), self.schedule, self.generator)
        dropped = torch.rand(len(prompts), generator=self.generator) < self.class_dropout
        prompts = prompts.masked_fill(dropped.to(prompts.device), NO_PROMPT)
        noise = self._randn(x_0)
        x_t = self.schedule.q_sample(x_0, t, noise)
        inputs, level = x_t, None
        if self.network.config.class_embed_type is not None:  # stage II
            level = torch.randint(MAX_NOISE_LEVEL, (len(x_0),), generator=self.generator)
            enlarged = F.interpolate(F.avg_pool2d(x_0, 2), x_0.shape[-2:], mode="bilinear", align_corners=True)
            inputs = torch.cat([x_t, self.schedule.q_sample(enlarged, level, self._randn(x_0))], dim=1)
            level = level.to(x_0.device)
        with torch.autocast(x_0.device.type, torch.bfloat16, enabled=self.bfloat16):
            cond = self.embeds[prompts]
            output = self.network(inputs, t.to(x_0.device), cond, class_labels=level, return_dict=False)[0]
        prediction, v = output.float().chunk(2, dim=1)
        estimate = self.schedule.x_start_and_noise("v_prediction", x_t, t, prediction.detach())[1]
        bound = variational_bound(self.schedule, x_0, x_t, t, estimate, v)
        return F.mse_loss(prediction, self.schedule.target("v_prediction", x_0, t, noise)) + VARIATIONAL_WEIGHT * bound

    def _randn(self, like):
        return torch.randn(like.shape, generator=self.generator).to(like.device)
