"""Checks of the images: do their values, their normalisation and the order of their channels fit the network."""

from __future__ import annotations

from collections.abc import Iterator

from tapetum.families.health.patient import Patient, check, counted
from tapetum.notes import RAW, is_caution
from tapetum.types import Finding

SLACK = 0.05
"""How far beyond [0, 1] rounding and interpolation may take pixels, with room to spare."""


@check(pictures=1, quick=True)
def value_range(patient: Patient) -> Iterator[Finding]:
    """Reports images whose values cannot come from pixels in [0, 1] by the model's own mean and std."""
    yield from range_of(patient)


def range_of(patient: Patient) -> list[Finding]:
    """Returns the findings of `value_range`, which other checks of images take as a reason not to judge."""
    model, images = patient.model, patient.images
    if images is None:
        return []
    how = model.preprocessing
    low, high = (float(end) for end in images.aminmax())
    on = counted(patient.n, "picture")
    if model.seems_raw(images):
        what = f"the values of {on} go from {low:.3g} to {high:.3g}: {RAW}"
        return [
            Finding(
                "value_range",
                "warning",
                what,
                "it takes them as they are, warns once and notes it",
                "use model.preprocess(pictures)",
            )
        ]
    if low == high:
        what = f"all values of {on} are {low:.3g}"
        return [Finding("value_range", "warning", what, "maps of it have the status `constant`", "give photographs")]
    means, stds = (images.new_tensor(one).view(1, -1, 1, 1) for one in (how.mean, how.std))
    pixels = images * stds + means
    least, most = (float(end) for end in pixels.aminmax())
    if least >= -SLACK and most <= 1 + SLACK:
        return []
    plain = all(one == 0 for one in how.mean) and all(one == 1 for one in how.std)
    if plain:
        what = f"the values of {on} go from {low:.3g} to {high:.3g}, and the model is said to take pixels as they are"
        advice = "nothing if you normalise yourself; tp.wrap(..., mean=, std=) makes pictures of results look right"
        return [Finding("value_range", "note", what, "it gives the values to the network as they are", advice)]
    what = (
        f"the values of {on} go from {low:.3g} to {high:.3g}, which as pixels by the model's mean {rounded(how.mean)} and std "
        f"{rounded(how.std)} are {least:.2f} to {most:.2f}, not 0 to 1: they were normalised by other constants"
    )
    done = "it takes them as they are; pictures under maps are clipped"
    return [
        Finding(
            "value_range",
            "warning",
            what,
            done,
            "use model.preprocess(pictures), or give tp.wrap the mean and std that you used",
        )
    ]


def rounded(numbers: tuple[float, ...]) -> str:
    """Writes constants in short: "(0.485, 0.456, 0.406)", or one number if all are equal."""
    if len(set(numbers)) == 1:
        return f"{numbers[0]:.3g}"
    return f"({', '.join(f'{one:.3g}' for one in numbers)})"


def assumed(patient: Patient) -> str:
    """Returns the model's own note that its mean and std are assumed; "" where they are known."""
    return next((one for one in patient.model.notes if is_caution(one)), "")
