"""Measure the alternatives in PyTorch: one job a process, started by `make bench`.

It runs in an environment of its own (requirements.txt), without breastus.
"""

import contextlib
import importlib.metadata
import os

from experiments.benchmarks.speed.timing import measured, work


def versions(job: dict) -> dict:
    found = {}
    for name in ("torch", "torchvision", "timm", "albumentations"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {"versions": found}


def card(job: dict) -> dict:
    """Return the GPU and what it is driven with."""
    torch = _torch()
    if not torch.cuda.is_available():
        return {}
    return {"card": torch.cuda.get_device_name(), "cuda of PyTorch": torch.version.cuda}


def peak(job: dict) -> dict:
    torch = _torch()
    side = job["matrix"]
    left, right = (torch.randn(side, side).to(getattr(torch, job["precision"])) for _ in range(2))
    product = measured(2 * side**3, lambda: (left @ right)[0, 0].item(), seconds=job["seconds"])
    return {"measurements": {"product": product}}


def network(job: dict) -> dict:
    torch = _torch()
    torch.manual_seed(0)
    batch, size, steps = job["batch"], job["size"], job.get("steps", 1)
    device = "cuda" if job.get("steps") and torch.cuda.is_available() else "cpu"
    layout = torch.channels_last if job["channels_last"] else torch.contiguous_format
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout).to(device)
    labels = torch.randint(0, 2, (batch,)).to(device)
    model = {"cnn": _cnn, "swin": _swin}[job["network"]](size).to(device, memory_format=layout)
    run = torch.compile(model) if job["compiled"] else model
    # The fused update is the fastest that PyTorch has.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler(device, enabled=job["precision"] == "float16")

    def precision():
        if job["precision"] == "float32":
            return contextlib.nullcontext()
        return torch.autocast(device, getattr(torch, job["precision"]))

    # The device is waited for once, after the last step.
    def predict():
        with torch.inference_mode(), precision():
            for _ in range(steps):
                probabilities = run(images).float().softmax(-1)
            return probabilities.cpu().numpy()

    def train():
        for _ in range(steps):
            optimizer.zero_grad()
            with precision():
                loss = torch.nn.functional.cross_entropy(run(images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        return loss.item()

    model.eval()
    predicted = measured(steps * batch, predict, seconds=job["seconds"])
    model.train()
    trained = measured(steps * batch, train, seconds=job["seconds"])
    memory = torch.cuda.max_memory_allocated() >> 20 if device == "cuda" else None
    return {"measurements": {"predict": predicted, "train": trained}, "memory_mb": memory}


def augmentation(job: dict) -> dict:
    if hasattr(os, "sched_setaffinity"):  # not on macOS and Windows
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import numpy as np

    shape = (128, job["size"], job["size"], 1)
    images = np.random.default_rng(0).integers(0, 256, shape, "uint8").repeat(3, axis=-1)
    make = {"albumentations": _albumentations, "torchvision": _torchvision}[job["library"]]
    batch = make(images, job["pixels"])

    def epoch():
        for start in range(0, len(images), 32):
            batch(slice(start, start + 32))

    done = measured(len(images), epoch, seconds=job["seconds"])
    return {"measurements": {"images": done}}


def _albumentations(images, pixels: str):
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    augment = albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.Affine(
                scale=(0.9, 1.1),
                translate_percent=(-0.1, 0.1),
                rotate=(-15, 15),
                interpolation=cv2.INTER_LINEAR,
                border_mode=cv2.BORDER_REFLECT,
                p=1.0,
            ),
            albumentations.MultiplicativeNoise(
                multiplier=(0.9, 1.1), per_channel=False, elementwise=True, p=1.0
            ),
            albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.0, 1.5), p=0.5),
        ]
    )
    if pixels == "float32":
        images = images.astype("float32") / 255.0  # the range that albumentations expects
    return lambda some: np.stack([augment(image=image)["image"] for image in images[some]])


def _torchvision(images, pixels: str):
    torch = _torch()
    from torchvision.transforms import v2

    torch.set_num_threads(1)

    def noise(image):
        strength = 0.1 * torch.rand(())
        noisy = image * (1.0 + strength * torch.randn(1, *image.shape[-2:]))
        return noisy if image.is_floating_point() else noisy.clamp(0, 255).to(image.dtype)

    augment = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomAffine(
                degrees=15,
                translate=(0.1, 0.1),
                scale=(0.9, 1.1),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.Lambda(noise),  # torchvision has only additive noise
            v2.RandomApply([v2.GaussianBlur(kernel_size=11, sigma=(1e-3, 1.5))], p=0.5),
        ]
    )
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    if pixels == "float32":
        tensors = tensors.float() / 255.0
    return lambda some: torch.stack([augment(image) for image in tensors[some]])


def _cnn(size: int):
    """The network of breastus/models/cnn.py, layer by layer."""
    from torch import nn

    parts, channels = [], 3
    for filters in (32, 64, 128):
        parts += [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
        size, channels = (size - 2) // 2, filters
    return nn.Sequential(*parts, nn.Flatten(), nn.Dropout(0.2), nn.Linear(size**2 * channels, 2))


def _swin(size: int):
    import timm

    return timm.create_model(f"swin_tiny_patch4_window7_{size}", pretrained=False, num_classes=2)


def _torch():
    import torch

    # All usable cores; the default of PyTorch is the physical ones.
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return torch


if __name__ == "__main__":
    work(
        {function.__name__: function for function in (versions, card, peak, network, augmentation)}
    )
