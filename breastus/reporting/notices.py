"""Notices at the top of a page or above predictions: facts in, what must not be overlooked out."""

from breastus.reporting.facts import ModelFacts


def notices(
    model: ModelFacts, *, phantom_images: bool = False, patient_images: bool = False
) -> list[str]:
    """Return the notices at the top of a page; the flags say which images it is about or shows."""
    values = {"phantom_images": phantom_images, "patient_images": patient_images}
    if model == ModelFacts(name=model.name) and not any(values.values()):
        return []  # Jinja takes longer to import than an image to predict
    from breastus.reporting.render import lines

    return lines("text/notices.txt.j2", model=model, **values)


def data_notices(*, phantom_images: bool, patient_images: bool) -> list[str]:
    """Return the notices of a page about images alone."""
    from breastus.reporting.render import lines

    values = {"phantom_images": phantom_images, "patient_images": patient_images}
    return lines("text/data_notices.txt.j2", **values)
