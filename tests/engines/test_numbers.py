"""The small exact parts: quadrature, running means, masks, fills, and batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from zoo import net, pictures, shared, wrapped

import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
from tapetum.engines import batching, gradients
from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.perturb import Masks, as_fill, mixed, random_grids, scores_under, staircase, windows
from tapetum.engines.statistics import CHECK, Draws, RunningMean, RunningVariance
from tapetum.families.gradients.quadrature import nodes
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Progress
from tapetum.types import Attribution, ImageError, MethodError

RULES = ("gauss_legendre", "middle", "trapezoid", "left", "right")
LIKE = torch.zeros((), dtype=torch.float64)

# --- quadrature


@pytest.mark.parametrize("n", [1, 2, 3, 20, 50])
@pytest.mark.parametrize("rule", RULES)
def test_weights_sum_to_one_and_points_lie_in_the_interval_in_order(rule: str, n: int) -> None:
    points, weights = nodes(rule, n)  # type: ignore[arg-type]
    assert len(points) == len(weights) == n
    assert sum(weights) == pytest.approx(1, abs=1e-13)  # n roundings of 1e-16
    assert points == sorted(points)
    assert 0 <= points[0] <= points[-1] <= 1


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_gauss_legendre_is_exact_up_to_degree_two_n_minus_one_and_no_further(n: int) -> None:
    points, weights = map(np.array, nodes("gauss_legendre", n))
    for degree in range(2 * n):
        assert weights @ points**degree == pytest.approx(1 / (degree + 1), rel=1e-12)
    error = abs(weights @ points ** (2 * n) - 1 / (2 * n + 1))
    if n <= 5:  # beyond, the error of the next degree is below rounding
        assert error > 1e-9


@pytest.mark.parametrize(("rule", "degree"), [("middle", 1), ("trapezoid", 1), ("left", 0), ("right", 0)])
def test_simple_rules_are_exact_up_to_their_degree(rule: str, degree: int) -> None:
    points, weights = map(np.array, nodes(rule, 7))  # type: ignore[arg-type]
    for power in range(degree + 1):
        assert weights @ points**power == pytest.approx(1 / (power + 1), rel=1e-13)
    assert abs(weights @ points ** (degree + 1) - 1 / (degree + 2)) > 1e-3


def test_left_and_right_differ_by_one_step_and_their_mean_is_the_trapezoid() -> None:
    left, right = nodes("left", 4)[0], nodes("right", 4)[0]
    assert left == [0, 0.25, 0.5, 0.75]
    assert right == [0.25, 0.5, 0.75, 1]
    assert nodes("trapezoid", 5) == ([0, 0.25, 0.5, 0.75, 1], [0.125, 0.25, 0.25, 0.25, 0.125])


# --- running mean


def test_running_mean_and_its_standard_error_equal_numpys() -> None:
    terms = np.random.default_rng(0).normal(1e4, 1, (37, 2, 3))  # a large mean: naive sums of squares would lose digits
    running = RunningMean()
    for term in terms:
        running.add(torch.from_numpy(term))
    np.testing.assert_allclose(running.value, terms.mean(0), rtol=1e-14)
    np.testing.assert_allclose(running.stderr, terms.std(0, ddof=1) / np.sqrt(37), rtol=1e-9)


def test_one_term_has_no_error_estimate_and_is_not_overwritten() -> None:
    running, term = RunningMean(), torch.ones(3)
    running.add(term)
    assert torch.isinf(running.stderr).all()
    running.add(3 * term)
    assert torch.equal(term, torch.ones(3))
    assert torch.equal(running.value, 2 * term)


def test_running_variance_and_its_standard_error_equal_numpys() -> None:
    terms = np.random.default_rng(0).gamma(2, 1, (37, 2, 3)) + 1e3  # skewed, and far from zero
    running = RunningVariance()
    for term in terms:
        running.add(torch.from_numpy(term))
    variance, fourth = terms.var(0, ddof=1), ((terms - terms.mean(0)) ** 4).mean(0)
    np.testing.assert_allclose(running.mean, terms.mean(0), rtol=1e-14)
    np.testing.assert_allclose(running.value, variance, rtol=1e-9)  # 1e3 of offset costs six digits
    np.testing.assert_allclose(running.stderr, np.sqrt((fourth - variance**2 * 34 / 36) / 37), rtol=1e-7)


def test_the_standard_error_of_a_variance_is_the_spread_that_repeated_variances_have() -> None:
    draws = torch.randn(400, 5_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    running = RunningVariance()
    for term in draws:
        running.add(term)
    # 5000 repetitions know their spread to 1 %; the estimate is low by 3 / 400 or so, as for normal terms
    assert running.stderr.mean() == pytest.approx(float(running.value.std()), rel=0.05)


def test_one_term_has_no_variance_yet() -> None:
    running = RunningVariance()
    running.add(torch.ones(2))
    assert torch.equal(running.value, torch.zeros(2))
    assert torch.isinf(running.stderr).all()


@pytest.mark.parametrize("statistic", [RunningMean, RunningVariance])
def test_half_precision_adds_up_in_single_and_is_given_back(statistic: type[RunningMean]) -> None:
    running, exact = statistic(), statistic()
    for term in torch.randn(300, 4, generator=torch.Generator().manual_seed(0)).bfloat16():
        running.add(term)
        exact.add(term.double())
    assert running.value.dtype == running.stderr.dtype == torch.bfloat16
    torch.testing.assert_close(running.value.double(), exact.value, rtol=2**-8, atol=0)  # one rounding to 8 bits


def test_draws_are_the_same_in_any_order_and_a_long_run_begins_with_a_short_one() -> None:
    like = torch.zeros(3, 5, 7, dtype=torch.float64)
    long, short = (Draws.of(torch.Generator().manual_seed(4), n) for n in (40, 9))
    assert torch.equal(long.normal(8, like), short.normal(8, like))
    assert long.shares[:9] == short.shares
    assert torch.equal(long.normal(3, like), long.normal(3, like))
    assert torch.equal(long.normal(3, like), long.normal(3, like.float()).double())
    many = torch.stack([long.normal(k, like) for k in range(40)])  # 4200 numbers: the mean is known to 0.015
    assert abs(float(many.mean())) < 0.06
    assert abs(float(many.std()) - 1) < 0.04
    firsts = torch.stack([many[:, 0, 0, 0], torch.tensor(long.shares, dtype=torch.float64)])
    assert abs(float(torch.corrcoef(firsts)[0, 1])) < 0.5  # 40 pairs: three standard errors


def test_a_mean_settles_at_multiples_of_check_when_its_error_is_a_small_share_of_it() -> None:
    running, asked = RunningMean(), {}
    for k in range(1, 3 * CHECK + 1):
        running.add(torch.tensor([3 + (-1.0) ** k, -20 + (-1.0) ** k]))
        asked[k] = [running.settled(tolerance) for tolerance in (None, 0.0135, 0.0125, 0.008, 0.007)]
    # after 16 terms of +-1 the error is 1 / sqrt(15) = 0.258, 0.0129 of the largest mean; after 48, 1 / sqrt(47) or 0.0073
    assert asked[CHECK] == [False, True, False, False, False]
    assert asked[3 * CHECK] == [False, True, True, True, False]
    assert all(not any(answers) for k, answers in asked.items() if k % CHECK)


def _passes(model: VisionModel, call: Callable[[], object]) -> int:
    """Images that go through the network meanwhile."""
    seen: list[int] = []
    handle = model.replica.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        call()
    finally:
        handle.remove()
    return sum(seen)


SAMPLED = {
    "smooth_grad": ("n_samples", 0.02),
    "smooth_grad_squared": ("n_samples", 0.019),
    "var_grad": ("n_samples", 0.06),
    "gradient_shap": ("n_samples", 0.02),
    "rise": ("n_masks", 0.27),
}
"""Methods that stop at a tolerance: their count, and a tolerance that these images reach."""


@pytest.mark.parametrize("method", SAMPLED)
def test_at_a_tolerance_each_image_stops_alone_and_nothing_is_computed_for_it_any_more(method: str) -> None:
    count, tolerance = SAMPLED[method]
    module = net("reused")
    with torch.no_grad():
        list(module.parameters())[-2].mul_(30)  # a decided network: of an undecided one no mask says much
    model, images = wrapped(module), torch.cat([pictures(1), 3 * pictures(1, seed=1)])
    settings = {count: 40 * CHECK, "tolerance": tolerance, "batch": CHECK}

    def explain(x: Tensor, **more: float) -> Attribution:
        return getattr(tp, method)(model, x, 1, **{**settings, **more})

    early = [explain(images[:1]), explain(images[1:])]
    counts = [_passes(model, lambda row=row: explain(images[row : row + 1])) for row in (0, 1)]
    for one, n in zip(early, counts, strict=True):
        assert n % CHECK == 0
        assert CHECK <= n < 40 * CHECK
        assert one.stderr is not None
        assert one.stderr.mean() <= tolerance * one.values.abs().max()
    assert counts[0] != counts[1]
    assert _passes(model, lambda: explain(images)) == sum(counts)
    for batch in (7, CHECK):  # neither the other image nor the batch decides where an image stops
        both = explain(images, batch=batch).values
        torch.testing.assert_close(both, torch.cat([one.values for one in early]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", SAMPLED)
def test_stopping_gives_bit_for_bit_the_run_with_that_many_samples(method: str) -> None:
    model, image, run, count = shared("reused"), pictures(1), getattr(tp, method), SAMPLED[method][0]
    early = run(model, image, 1, **{count: 10 * CHECK}, tolerance=1, batch=7)
    exact = run(model, image, 1, **{count: CHECK}, batch=7)
    assert torch.equal(early.values, exact.values)
    assert torch.equal(early.stderr, exact.stderr)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", SAMPLED)
def test_progress_ends_with_everything_done_also_when_an_image_stops_early(method: str) -> None:
    events: list[Progress] = []
    with tp.watching(events.append):
        getattr(tp, method)(shared("reused"), pictures(2), 1, **{SAMPLED[method][0]: 5 * CHECK}, tolerance=0.5)
    assert events[-1].done == events[-1].total > 0
    assert [event.done for event in events] == sorted(event.done for event in events) or method == "rise"


# --- masks


@pytest.mark.parametrize(("height", "width", "window", "stride"), [(9, 9, 4, 3), (16, 10, 5, 5), (7, 12, 3, 2), (8, 8, 8, 8)])
def test_windows_hide_every_pixel_and_are_as_many_as_the_formula_says(
    height: int, width: int, window: int, stride: int
) -> None:
    masks = windows(height, width, window, stride, LIKE)
    rows, columns = (1 + -(-(side - window) // stride) for side in (height, width))
    assert masks.count == rows * columns
    made = masks.make(0, masks.count)
    assert made.shape == (masks.count, 1, height, width)
    assert set(made.unique().tolist()) <= {0.0, 1.0}
    assert ((1 - made).sum(0) >= 1).all()
    assert torch.equal(made[-2:], masks.make(max(0, masks.count - 2), masks.count))
    expected = torch.ones(height, width, dtype=torch.float64)
    expected[-(height - (rows - 1) * stride) :, -(width - (columns - 1) * stride) :] = 0  # the last one, cut at the border
    assert torch.equal(made[-1, 0], expected)


def test_windows_that_leave_gaps_or_do_not_fit_are_refused() -> None:
    with pytest.raises(MethodError, match="stride 5 px is larger than the window of 4 px"):
        windows(9, 9, 4, 5, LIKE)
    with pytest.raises(MethodError, match="a window of 10 px does not fit into an image of 9 x 12 px"):
        windows(9, 12, 10, 5, LIKE)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8])
def test_random_grids_keep_each_pixel_with_the_given_probability(keep: float) -> None:
    n = 4000
    masks = random_grids(20, 27, n, 4, keep, torch.Generator().manual_seed(0), LIKE)
    made = masks.make(0, n)
    assert made.shape == (n, 1, 20, 27)
    assert made.min() >= 0
    assert made.max() <= 1 + 1e-12  # the two weights of an interpolation sum to one up to rounding
    # five standard errors: of 540 correlated pixels none leaves them by chance (p < 4e-4 even if they were independent)
    error = made.std(0) / n**0.5
    assert ((made.mean(0) - keep).abs() < 5 * error).all()


def test_random_grids_are_the_same_however_they_are_cut() -> None:
    masks = random_grids(16, 16, 10, 4, 0.5, torch.Generator().manual_seed(3), LIKE)
    assert torch.equal(masks.make(0, 10), torch.cat([masks.make(0, 3), masks.make(3, 10)]))
    assert not torch.equal(masks.make(0, 1), masks.make(1, 2))


def test_a_random_grid_depends_on_the_seed_and_its_place_in_the_row_alone() -> None:
    few, many = (random_grids(16, 23, n, 7, 0.5, torch.Generator().manual_seed(3), LIKE) for n in (5, 4000))
    assert torch.equal(few.make(0, 5), many.make(0, 5))


def test_a_random_grid_is_cut_at_every_place_of_a_cell() -> None:
    made = random_grids(4, 4, 4000, 2, 0.5, torch.Generator().manual_seed(0), LIKE).make(0, 4000)
    # 2 x 2 cuts of 2^4 grids; of four grids of equal rows or columns two cuts look alike, of the two of one value all do
    assert len({tuple(mask.flatten().tolist()) for mask in made.round(decimals=6)}) == 10 * 4 + 4 * 2 + 2


def test_a_random_grid_is_smooth_and_reaches_both_ends() -> None:
    made = random_grids(40, 40, 200, 4, 0.5, torch.Generator().manual_seed(0), LIKE).make(0, 200)
    assert made.min() == 0
    assert made.max() == pytest.approx(1, abs=1e-12)
    steps = (made[..., 1:] - made[..., :-1]).abs()
    assert steps.max() <= 1 / 10 + 1e-12  # bilinear: from 0 to 1 over a cell of 10 px


def test_a_staircase_hides_nested_sets_in_order() -> None:
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    masks = staircase(order, (2, 3), 4)
    made = masks.make(0, 5).view(5, 6)
    assert masks.count == 5
    assert (made[0] == 1).all()
    assert (made[-1] == 0).all()
    assert (made[1:] <= made[:-1]).all()
    for step, hidden in enumerate((0, round(1.5), 3, round(4.5), 6)):
        assert made[step].nonzero().flatten().tolist() == sorted(order[hidden:].tolist())


def test_mixing_takes_the_image_where_the_mask_is_one_exactly() -> None:
    image, fill = pictures(1), pictures(1, seed=1)
    masks = (torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.5).double()
    out = mixed(image, masks, fill)
    keep = masks.bool().expand_as(out)
    assert torch.equal(out[keep], image.expand_as(out)[keep])
    assert torch.equal(out[~keep], fill.expand_as(out)[~keep])
    torch.testing.assert_close(mixed(image, torch.full_like(masks, 0.25), fill)[0], (0.25 * image + 0.75 * fill)[0])


# --- fills


def normalised() -> VisionModel:
    model = shared("reused")
    return VisionModel(model.module, "normalised", Preprocessing((16, 16), 18, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)))


@pytest.mark.parametrize(("fill", "pixel"), [("black", 0.0), ("white", 1.0)])
def test_black_is_truly_black_and_white_truly_white(fill: str, pixel: float) -> None:
    model, images = normalised(), pictures(2)
    values = as_fill(model, images, fill)  # type: ignore[arg-type]
    pixels = values * torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1) + torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    assert (pixels - pixel).abs().max() < 1e-6  # the constants are single precision
    assert values.dtype == images.dtype


def test_zero_is_the_mean_colour_of_the_training_set_and_not_black() -> None:
    model, images = normalised(), pictures(1)
    pixels = model.denormalize(as_fill(model, images, "zero"))
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64))


def test_every_fill_has_the_images_shape_and_type_and_belongs_to_its_own_image() -> None:
    model, images = normalised(), pictures(2)
    for fill in ("zero", "mean", "black", "white", "blur", "noise", 0.5, 2, torch.zeros(3, 1, 1)):
        both = as_fill(model, images, fill)  # type: ignore[arg-type]
        assert (both.shape, both.dtype) == (images.shape, images.dtype)
        assert torch.equal(both[1:], as_fill(model, images[1:], fill))  # type: ignore[arg-type]
    torch.testing.assert_close(as_fill(model, images, "mean")[1, 2], images[1, 2].mean().expand(16, 16))
    noise = model.denormalize(as_fill(model, images, "noise"))
    assert 0 <= noise.min() < 0.05
    assert 0.95 < noise.max() <= 1


def test_a_blur_keeps_a_constant_image_and_the_mean_and_smooths_the_rest() -> None:
    model, images = normalised(), pictures(1, 64)
    constant = torch.full_like(images, 0.7)
    torch.testing.assert_close(as_fill(model, constant, "blur"), constant)
    blurred = as_fill(model, images, "blur")
    rough = (images[..., 1:] - images[..., :-1]).abs().mean()
    assert (blurred[..., 1:] - blurred[..., :-1]).abs().mean() < rough / 2
    assert (blurred.mean() - images.mean()).abs() < 0.05


def test_a_blur_is_scipys_gaussian_of_a_twentieth_of_the_shorter_side() -> None:
    images = pictures(1, 80)[..., :60]
    for side in ((80, 60), (60, 60)):
        some = images[..., : side[0], :]
        expected = gaussian_filter(some[0].numpy(), (0, 3, 3), mode="mirror", truncate=3)  # 60 px / 20
        np.testing.assert_allclose(as_fill(normalised(), some, "blur")[0], expected, rtol=0, atol=1e-6)


def test_unknown_fills_are_refused_in_one_line() -> None:
    model, images = normalised(), pictures(2)
    with pytest.raises(MethodError, match=r"^no fill 'grey'; there are zero, mean, black, white, blur, noise"):
        as_fill(model, images, "grey")  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"a fill of shape \(3, 5, 5\) does not fit images of shape"):
        as_fill(model, images, torch.zeros(3, 5, 5))


# --- batches


class Small:
    """A score on a device that holds three images."""

    def __init__(self, limit: int = 3) -> None:
        self.limit, self.sizes = limit, []

    def __call__(self, images: Tensor, /) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("too much")
        return images.sum((1, 2, 3))

    def take(self, rows: Sequence[int], /) -> Small:
        return self


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost() -> None:
    score, image = Small(), pictures(1)
    masks = windows(16, 16, 4, 4, LIKE)
    stream = list(scores_under(score, image, masks, torch.zeros_like(image), batch=16))
    assert score.sizes == [16, 8, 4, *[2] * 8]
    assert torch.equal(torch.cat([some for some, _ in stream]), masks.make(0, 16))
    expected = (masks.make(0, 16) * image).sum((1, 2, 3))
    torch.testing.assert_close(torch.cat([values for _, values in stream]), expected)


def test_an_image_that_does_not_fit_alone_is_a_clear_refusal() -> None:
    image = pictures(1)
    with pytest.raises(MethodError, match=r"^one image alone does not fit into the free memory$"):
        list(scores_under(Small(0), image, windows(16, 16, 8, 8, LIKE), image, batch=4))


def test_a_method_goes_on_when_the_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = shared("reused"), pictures(2)
    usual = tp.integrated_gradients(model, images, [1, 3], n_steps=6).values
    real, sizes = gradients._gradient, []

    def narrow(score: object, points: Tensor) -> Tensor:
        sizes.append(len(points))
        if len(points) > 3:
            raise torch.OutOfMemoryError("too much")
        return real(score, points)  # type: ignore[arg-type]

    monkeypatch.setattr(gradients, "_gradient", narrow)
    short = tp.integrated_gradients(model, images, [1, 3], n_steps=6, batch=8).values
    assert sizes == [8, 4, *[2] * 6]
    torch.testing.assert_close(short, usual, rtol=1e-10, atol=1e-12)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def work(_: Sequence[int]) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(in_chunks(range(5), 4, work))


def test_automatic_batches_follow_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = shared("reused")
    one = model.survey.activation_bytes
    assert one > 0
    monkeypatch.setattr(batching, "free_bytes", lambda _: int(5.5 * one / batching.SHARE))
    assert batch_size(model, "auto") == 5
    assert batch_size(model, "auto", gradients=True) == 2
    monkeypatch.setattr(batching, "free_bytes", lambda _: 0)
    assert batch_size(model, "auto") == 1
    assert batch_size(model, 7) == 7
    with pytest.raises(MethodError, match="batch must be at least 1, not 0"):
        batch_size(model, 0)


def test_masks_are_made_in_pieces_of_the_batch() -> None:
    asked: list[tuple[int, int]] = []

    def make(start: int, stop: int) -> Tensor:
        asked.append((start, stop))
        return torch.ones(stop - start, 1, 16, 16, dtype=torch.float64)

    image = pictures(1)
    list(scores_under(Small(9), image, Masks(10, make), image, batch=4))
    assert asked == [(0, 4), (4, 8), (8, 10)]


def test_wrapping_for_the_zoo_is_an_identity() -> None:
    """What the other tests rely on: the images are what the network sees."""
    images = pictures(1).clamp(0, 1)
    assert torch.equal(wrapped(torch.nn.Identity()).preprocessing.normalize(images), images)
