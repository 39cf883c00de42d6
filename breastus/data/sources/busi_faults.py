"""What is known to be wrong with images of BUSI, by finding and number.

Reference:
    Pawlowska, Karwat, Zolek: Letter to the Editor. Re: "[Dataset of breast ultrasound images]".
    Data in Brief 48 (2023) 109247. Table: Mendeley Data 10.17632/k8t3gnx9h6.1.
"""

from breastus.data.sources import Fault

AXILLA = {
    "benign": {
        *(106, 166, 199, 205, 207, 210, 217, 218, 223, 225, 228, 233, 235, 236, 243, 247, 248, 256),
        *(257, 262, 268, 292, 293, 294, 296, 298, 299, 306),
    },
    "malignant": {11, 12, 13, 27, 28, 61, 108, 109, 110, 113, 148, 149, 167, 180, 200},
    "normal": {
        *(2, 39, 42, 45, 48, 49, 56, 58, 60, 62, 69, 75, 83, 85, 90, 91, 92, 93, 94, 97, 98, 100),
        *(101, 104, 107, 110, 118),
    },
}
NEEDLE = {"benign": set(), "malignant": {69, 70, 173, 174, 190}, "normal": {35, 129}}
DOPPLER = {
    "benign": {6, 13, 102, 234, 240, 255, 261, 277, 323, 330},
    "malignant": {196},
    "normal": set(),
}

_REASONS = (
    ("axilla", AXILLA, "shows the axilla, not the breast"),
    ("needle", NEEDLE, "shows a biopsy needle"),
    ("doppler", DOPPLER, "is a colour Doppler image"),
)


def faults_of(finding: str, number: int) -> tuple[Fault, ...]:
    """Return what is wrong with an image: `known fault: shows a biopsy needle (...)`."""
    return tuple(
        Fault(kind, f"known fault: {reason} (Pawlowska et al. 2023)")
        for kind, images, reason in _REASONS
        if number in images[finding]
    )
