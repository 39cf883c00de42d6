"""Simulated B-mode images of a breast, with or without a lump: seed and index in, `Phantom` out.

Tissue is a field of scatterers whose strength follows a map of echogenicity (skin, fat with
Cooper's ligaments, gland, pectoral muscle, lump). The field is blurred by the scanner's
point-spread function, its magnitude taken, attenuated along depth, and compressed to grey levels:

    echogenicity x complex Gaussian scatterers -> PSF -> envelope -> attenuation -> log -> uint8

With many scatterers in a resolution cell the envelope is Rayleigh distributed, which is what makes
speckle (Wagner et al., IEEE Trans. Sonics Ultrason. 30, 1983, 156). Lumps follow the signs of
Stavros et al. (Radiology 196, 1995, 123): benign ones are smooth and wider than tall, cysts
anechoic with enhancement behind them; malignant ones irregular, often taller than wide, shadowing.
Numbers without a source are chosen by eye next to real scans.
"""

import math
from dataclasses import dataclass

import numpy as np

from breastus.utils.opencv import cv2

SOUND_SPEED = 1.54  # mm per microsecond, in soft tissue
VERSION = 1  # raised when the same seed gives other pixels
LINES = 256  # scan lines; the image interpolates between them, as scanners do
_NORMAL = (0, 3, 7)  # last digits of the indices without a lump: about the study's prevalence
HALF_SIZES = (2.2, 9.5)  # mm, half the longer side of a lump, drawn uniformly in its logarithm


@dataclass(frozen=True)
class Phantom:
    """One simulated image."""

    image: np.ndarray  # uint8 [H, W], grey levels
    mask: np.ndarray  # uint8 [H, W], 255 within the lump; all 0 without one
    finding: str  # "normal", "benign" or "malignant"


@dataclass(frozen=True)
class _Scanner:
    """Settings of the scanner, drawn equally for images with and without a lump."""

    height: int
    width: int
    depth: float
    breadth: float
    frequency: float  # MHz
    focus: float  # mm
    dynamic_range: float  # dB
    gain: float  # dB
    slope: float  # dB per mm left over by the time-gain compensation

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Scanner":
        depth = rng.uniform(28, 48)
        return cls(
            height=int(rng.integers(420, 600)),
            width=int(rng.integers(480, 780)),
            depth=depth,
            breadth=rng.uniform(36, 50),
            frequency=rng.uniform(8, 13),
            focus=rng.uniform(0.35, 0.7) * depth,
            dynamic_range=rng.uniform(52, 66),
            gain=rng.uniform(-3, 7),
            slope=rng.uniform(-0.75, -0.25),
        )


@dataclass(frozen=True)
class _Lump:
    """Outline r(angle) about a centre, in mm, and acoustic properties."""

    x: float
    z: float
    half_width: float
    half_height: float
    tilt: float
    harmonics: tuple[tuple[int, float, float], ...]  # order, amplitude, phase
    contrast: float  # dB relative to its surroundings
    attenuation: float  # dB per mm of path, one way; negative for enhancement behind the lump
    margin: float  # mm over which its border fades
    halo: float  # dB of the bright rim
    texture: float  # dB

    def distance(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return 1 on the outline, less inside, for positions in mm."""
        dx, dz = x - self.x, z - self.z
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        u, v = (cos * dx + sin * dz) / self.half_width, (cos * dz - sin * dx) / self.half_height
        angle = np.arctan2(v, u)
        outline = np.ones_like(angle)
        for order, amplitude, phase in self.harmonics:
            outline += amplitude * np.cos(order * angle + phase)
        return np.hypot(u, v) / np.maximum(outline, 0.3)


def simulate_phantom(
    seed: int,
    index: int,
    *,
    finding: str | None = None,
    half_sizes: tuple[float, float] = HALF_SIZES,
) -> Phantom:
    """Simulate one image; the same arguments give the same pixels.

    Args:
        seed: seed of the set of images.
        index: number of the image in the set.
        finding: "normal", "benign" or "malignant"; None takes `finding_of(seed, index)`.
        half_sizes: smallest and largest half of a lump's longer side, in mm.
    """
    finding = finding or finding_of(seed, index)
    rng = np.random.default_rng([seed, index])
    scanner = _Scanner.draw(rng)
    z, x = _grid(scanner, LINES)
    echo, attenuation, gland = _anatomy(rng, scanner, x, z)
    lump = None
    if finding != "normal":
        lump = _draw_lump(rng, finding, scanner, gland, half_sizes)
        _insert(rng, lump, x, z, echo, attenuation)

    envelope = _envelope(rng, scanner, echo)
    step = scanner.depth / scanner.height
    # Out and back: twice the one-way loss on the path above each point.
    loss = 2 * step * np.cumsum(attenuation, axis=0)
    level = 20 * np.log10(envelope + 1e-6) - loss + scanner.slope * (z - 0.3 * scanner.depth)
    grey = 255 * (level + scanner.gain + 0.72 * scanner.dynamic_range) / scanner.dynamic_range
    # Scanners smooth their images; a little here, so that the grain of the speckle stays.
    grey = cv2.GaussianBlur(grey, (0, 0), 0.7)
    grey = cv2.resize(grey, (scanner.width, scanner.height), interpolation=cv2.INTER_CUBIC)
    image = np.clip(grey, 0, 255).astype(np.uint8)

    mask = np.zeros_like(image)
    if lump is not None:
        rows, columns = _grid(scanner, scanner.width)
        mask[lump.distance(*np.broadcast_arrays(columns, rows)) <= 1] = 255
    return Phantom(image, mask, finding)


def finding_of(seed: int, index: int) -> str:
    """Return the finding of an image of a set: 3 of 10 are normal, the others benign or malignant.

    Normal images are chosen by index, so their fraction is the same in small sets. Two of three
    lumps are benign, by chance.
    """
    if index % 10 in _NORMAL:
        return "normal"
    return "malignant" if np.random.default_rng([seed, index, 1]).random() < 1 / 3 else "benign"


def _grid(scanner: _Scanner, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return depth [height, 1] and lateral position [1, columns] in mm, 0 in the middle."""
    height = scanner.height
    z = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * (scanner.depth / height)
    x = (np.arange(columns, dtype=np.float32)[None] + 0.5) * (scanner.breadth / columns)
    return z, x - scanner.breadth / 2


def _noise(rng: np.random.Generator, shape: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Return smooth noise of unit variance with about rows x columns blobs."""
    coarse = rng.standard_normal((rows + 3, columns + 3), dtype=np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _curve(rng: np.random.Generator, count: int, waves: int, height: float) -> np.ndarray:
    """Return a wavy line [1, count] with a standard deviation of `height` mm."""
    return height * _noise(rng, (1, count), 1, waves)


def _anatomy(rng, scanner: _Scanner, x, z):
    """Return echogenicity in dB, excess attenuation in dB per mm, and the gland's depths in mm."""
    shape = (z.shape[0], x.shape[1])
    lines = shape[1]
    skin = rng.uniform(1.0, 2.2) + _curve(rng, lines, 3, 0.12)
    fat = skin + rng.uniform(0.08, 0.25) * scanner.depth + _curve(rng, lines, 5, 1.0)
    gland = np.maximum(
        fat + 3, rng.uniform(0.52, 0.75) * scanner.depth + _curve(rng, lines, 4, 1.3)
    )
    muscle = np.maximum(
        gland + 2.5, rng.uniform(0.8, 1.0) * scanner.depth + _curve(rng, lines, 2, 0.8)
    )

    def below(border, blur=0.25):
        return 1 / (1 + np.exp(-np.clip((z - border) / blur, -30, 30)))

    in_fat = below(skin, 0.08) * (1 - below(fat))
    in_gland = below(fat) * (1 - below(gland))
    in_muscle = below(gland) * (1 - below(muscle))

    # Fat lobules between bright septa: the zero crossings of smooth noise make a net of thin lines.
    lobules = _noise(rng, shape, int(rng.integers(7, 13)), int(rng.integers(3, 7)))
    septa = np.exp(-((lobules / rng.uniform(0.06, 0.12)) ** 2))
    septa *= np.clip(0.5 + 0.6 * _noise(rng, shape, 7, 7), 0, 1)  # visible in places only
    fine = _noise(rng, shape, int(rng.integers(22, 40)), int(rng.integers(10, 18)))
    broad = _noise(rng, shape, 4, 4)
    tilt = _noise(rng, shape, int(rng.integers(30, 48)), int(rng.integers(3, 6)))
    fibres = np.exp(-((tilt / 0.25) ** 2))

    echo = np.full(shape, -4.0, np.float32)
    echo += (1 - below(skin, 0.08)) * (7 + 4 * np.cos(2 * np.pi * z / skin))
    echo += in_fat * (-8 + 2.0 * lobules + 10 * septa)
    mixture = rng.uniform(1.5, 4.0)  # from homogeneous fibrous to strongly mixed gland
    echo += in_gland * (5 + mixture * broad + 2.5 * fine + 5 * septa - mixture)
    echo += in_muscle * (-9 + 11 * fibres + 1.5 * broad)
    echo += below(muscle) * (-16 + 3 * broad)
    # Fasciae: thin bright lines where layers meet.
    for border, strength in ((skin, 6.0), (gland, 7.0), (muscle, 12.0)):
        strength = strength * (0.6 + 0.4 * _curve(rng, lines, 6, 1.0))
        echo += strength * np.exp(-(((z - border) / 0.35) ** 2))

    attenuation = np.zeros(shape, np.float32)
    attenuation += 0.06 * in_gland + 0.05 * septa * in_fat
    depths = float(fat.mean()), float(gland.mean())
    _add_confounders(rng, scanner, x, z, echo, attenuation, depths)
    return echo, attenuation, depths


def _add_confounders(rng, scanner, x, z, echo, attenuation, gland) -> None:
    """Add fat lobules in the gland and shadows of ligaments, which are dark but no lumps."""
    for _ in range(rng.integers(0, 4)):
        centre = rng.uniform(-0.45, 0.45) * scanner.breadth
        depth = rng.uniform(*gland)
        width, height = rng.uniform(2.0, 6.0), rng.uniform(0.8, 2.0)
        spot = np.exp(-((((x - centre) / width) ** 2 + ((z - depth) / height) ** 2) ** 2))
        echo -= rng.uniform(4, 9) * spot
    for _ in range(rng.integers(0, 4)):
        centre = rng.uniform(-0.5, 0.5) * scanner.breadth
        start = rng.uniform(1.5, gland[1])
        width = rng.uniform(0.5, 2.2)
        at_start = np.exp(-(((z - start) / 1.0) ** 2)) * np.exp(-(((x - centre) / width) ** 2))
        attenuation += rng.uniform(0.5, 2.2) * at_start


def _draw_lump(rng, finding: str, scanner: _Scanner, gland, half_sizes) -> _Lump:
    malignant = finding == "malignant"
    size = math.exp(rng.uniform(*map(math.log, half_sizes)))  # half the longer side, mm
    # Taller than wide: a sign of malignancy (Stavros et al. 1995).
    ratio = rng.uniform(0.65, 1.25) if malignant else rng.uniform(0.42, 0.85)
    half_width, half_height = (size, size * ratio) if ratio <= 1 else (size / ratio, size)
    half_height = min(half_height, 0.3 * scanner.depth)
    low = max(gland[0] * 0.7, 2.5) + half_height
    high = max(low + 0.5, min(gland[1] + 2, scanner.depth - half_height - 2))
    wobble = rng.uniform(0.06, 0.13) if malignant else rng.uniform(0.0, 0.035)
    orders = range(2, 12 if malignant else 5)
    cyst = not malignant and rng.random() < 0.3
    if malignant:
        contrast, attenuation = rng.uniform(-19, -8), rng.uniform(0.1, 0.9)
    elif cyst:
        contrast, attenuation = rng.uniform(-40, -28), rng.uniform(-0.55, -0.3)
    else:
        contrast, attenuation = rng.uniform(-14, -5), rng.uniform(-0.35, 0.05)
    reach = max(scanner.breadth / 2 - half_width - 1, 1.0)
    return _Lump(
        x=rng.uniform(-reach, reach),
        z=rng.uniform(low, high),
        half_width=half_width,
        half_height=half_height,
        tilt=rng.uniform(-0.35, 0.35),
        harmonics=tuple(
            (order, wobble * rng.normal() * (2 / order) ** 0.5, rng.uniform(0, 2 * math.pi))
            for order in orders
        ),
        contrast=contrast,
        attenuation=attenuation,
        margin=rng.uniform(0.35, 1.0) if malignant else rng.uniform(0.1, 0.3),
        halo=rng.uniform(2, 7) if malignant else rng.uniform(0, 5),
        texture=0.5 if cyst else rng.uniform(1.0, 3.0),
    )


def _insert(rng, lump: _Lump, x, z, echo, attenuation) -> None:
    """Add the echoes and the attenuation of the lump to the maps."""
    size = min(lump.half_width, lump.half_height)
    distance = lump.distance(*np.broadcast_arrays(x, z))
    outside = (distance - 1) * size  # about mm beyond the outline
    inside = 1 / (1 + np.exp(np.clip(outside / (0.5 * lump.margin), -30, 30)))
    texture = lump.texture * _noise(rng, echo.shape, 24, 12)
    own = -5 + lump.contrast + texture
    echo += inside * (own - echo)
    echo += lump.halo * np.exp(-(((outside - 0.8 * lump.margin) / (0.35 + lump.margin)) ** 2))
    attenuation += inside * lump.attenuation
    # A round border refracts the sound that grazes it: thin shadows below both edges.
    edges = np.exp(-((np.abs(x - lump.x) - lump.half_width) ** 2) / 0.6)
    attenuation += 0.25 * edges * np.exp(-(((z - lump.z) / lump.half_height) ** 2))


def _envelope(rng, scanner: _Scanner, echo: np.ndarray) -> np.ndarray:
    """Return the envelope of the echoes, with a mean of 1 where the echogenicity is 0 dB."""
    shape = echo.shape
    strength = 10 ** (echo / 20)
    scatterers = rng.standard_normal((*shape, 2), dtype=np.float32) * strength[..., None]
    wavelength = SOUND_SPEED / scanner.frequency  # mm
    # A pulse of two cycles: about one wavelength long, in depth, at half its height.
    axial = wavelength / 2.355 / (scanner.depth / shape[0])
    lateral_step = scanner.breadth / shape[1]
    # Beam width: wavelength times f-number, near 2 in focus and wider off it.
    sharp, wide = (number * wavelength / 2.355 / lateral_step for number in (2.2, 6.0))
    near, far = (_blur(scatterers, lateral, axial) for lateral in (sharp, wide))
    depth = (np.arange(shape[0], dtype=np.float32) + 0.5) * (scanner.depth / shape[0])
    share = np.clip(np.abs(depth - scanner.focus) / (0.8 * scanner.depth), 0, 1)[:, None, None]
    field = (1 - share) * near + share * far
    # A blend of two correlated fields has less power than either, which is corrected row by row.
    cross = math.sqrt(2 * sharp * wide / (sharp**2 + wide**2))
    power = (1 - share) ** 2 + share**2 + 2 * share * (1 - share) * cross
    return np.hypot(field[..., 0], field[..., 1]) / np.sqrt(2 * power[..., 0])


def _blur(field: np.ndarray, lateral: float, axial: float) -> np.ndarray:
    """Blur [H, W, 2] by a Gaussian of these standard deviations, keeping the noise power."""
    kernels = []
    for sigma in (lateral, axial):
        radius = max(1, math.ceil(3 * sigma))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
        kernels.append((kernel / np.linalg.norm(kernel)).astype(np.float32))
    return cv2.sepFilter2D(field, -1, *kernels, borderType=cv2.BORDER_REFLECT)
