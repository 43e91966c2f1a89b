"""Methods on segments against captum 0.9.0, and against scikit-learn's regression where the lime package is the measure."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import torch
from oracle_networks import model, network, relative, side
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances
from torch import Tensor
from zoo import pictures

import tapetum as tp
from tapetum.engines.perturb import segment
from tapetum.engines.perturb.games import replayed

pytestmark = pytest.mark.oracle

NETS = ["resnet18", "functional"]


def images(name: str, n: int = 1) -> Tensor:
    return pictures(n, side(name), dtype=torch.float64)


def cells(name: str, n: int) -> Tensor:
    return segment(images(name), "grid", n)[0]


@pytest.mark.parametrize("name", NETS)
def test_feature_ablation_is_captums(name: str) -> None:
    x, mask = images(name, 2), cells(name, 9)
    theirs = captum.attr.FeatureAblation(network(name, torch.float64)).attribute(x, 0.2, [3, 1], feature_mask=mask)
    ours = tp.feature_ablation(model(name, torch.float64), x, [3, 1], segments=mask, fill=0.2)
    assert relative(ours.values.expand_as(theirs), theirs.double()) < 1e-6  # captum gathers its values in single precision


def test_feature_ablation_with_superpixels_of_each_image_is_captums_of_each() -> None:
    x, net = images("functional", 2), network("functional", torch.float64)
    ours = tp.feature_ablation(model("functional", torch.float64), x, [3, 1], segments="slic", n_segments=12)
    masks = segment(model("functional", torch.float64).denormalize(x), "slic", 12)
    for row, target in enumerate((3, 1)):
        theirs = captum.attr.FeatureAblation(net).attribute(x[row : row + 1], 0, target, feature_mask=masks[row])
        assert relative(ours.values[row : row + 1].expand_as(theirs), theirs.double()) < 1e-6


@pytest.mark.parametrize("name", NETS)
def test_kernel_shap_over_all_coalitions_is_captums_mean_over_all_orders(name: str) -> None:
    x, mask = images(name), cells(name, 4)
    theirs = captum.attr.ShapleyValues(network(name, torch.float64)).attribute(x, 0.2, 3, feature_mask=mask)
    ours = tp.kernel_shap(model(name, torch.float64), x, 3, segments=mask, fill=0.2, n_samples=14)
    assert relative(ours.values.expand_as(theirs), theirs.double()) < 1e-6


def test_shapley_sampling_and_captums_differ_by_their_sampling_errors_alone() -> None:
    x, mask, n = images("functional"), cells("functional", 9), 60
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = captum.attr.ShapleyValueSampling(network("functional", torch.float64)).attribute(
            x, 0, 3, feature_mask=mask, n_samples=n
        )[:, :1]
    ours = tp.shapley_sampling(model("functional", torch.float64), x, 3, segments=mask, n_samples=n)
    assert ours.stderr is not None
    # both errors are about ours; 4.5 of nine differences are left by chance once in ten thousand
    assert ((ours.values - theirs).abs() < 4.5 * 2**0.5 * ours.stderr + 1e-9).all()


def test_kernel_shap_and_captums_mean_of_runs_agree_within_their_scatter() -> None:
    """captum draws single coalitions of any size and gives the two certain ones a large weight; ours pairs them."""
    x, mask, runs = images("functional"), cells("functional", 9), []
    explainer = captum.attr.KernelShap(network("functional", torch.float64))
    with torch.random.fork_rng(devices=[]):
        for seed in range(12):
            torch.manual_seed(seed)
            runs.append(explainer.attribute(x, 0, 3, feature_mask=mask, n_samples=100)[0, 0])
    theirs = torch.stack(runs).double()
    ours = tp.kernel_shap(model("functional", torch.float64), x, 3, segments=mask, n_samples=510).values[0, 0]  # exact
    error = theirs.std(0) / len(runs) ** 0.5
    # 12 runs: Student's t with 11 degrees of freedom leaves 6 standard errors once in ten thousand
    assert ((theirs.mean(0) - ours).abs() < 6 * error + 1e-3 * ours.abs().max()).all()


@pytest.mark.parametrize(("width", "alpha"), [(0.25, 1.0), (0.5, 0.01)])
def test_lime_is_the_weighted_ridge_of_the_lime_package(width: float, alpha: float) -> None:
    """The lime package is not at hand: its formulas, with scikit-learn in place of ours, on the same coalitions.

    Its image explainer takes scikit-learn's cosine distance of each row to the first, sqrt(exp(-d^2 / width^2)) for the
    weights, and scikit-learn's Ridge with an intercept on probabilities.
    """
    x, mask, n = images("functional"), cells("functional", 9), 60
    net = network("functional", torch.float64)
    z = torch.randint(2, (n, 9), generator=replayed(torch.Generator().manual_seed(7))()).double()
    z[0] = 1
    with torch.no_grad():
        p = torch.stack([net(torch.where(row[mask] > 0, x, 0.1)).softmax(1)[0, 3] for row in z]).numpy()
    distance = pairwise_distances(z.numpy(), z[:1].numpy(), metric="cosine").ravel()
    weights = np.sqrt(np.exp(-(distance**2) / width**2))
    fitted = Ridge(alpha=alpha, fit_intercept=True).fit(z.numpy(), p, sample_weight=weights)
    ours = tp.lime(
        model("functional", torch.float64), x, 3, segments=mask, n_samples=n, kernel_width=width, alpha=alpha, fill=0.1, seed=7
    )
    assert relative(ours.values[0, 0], torch.from_numpy(fitted.coef_)[mask]) < 1e-9


def test_lime_with_a_small_penalty_finds_the_weights_of_a_linear_score() -> None:
    x, mask = images("functional"), cells("functional", 9)
    weights = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)).double()
    with torch.no_grad():
        linear[1].weight[1] = weights.flatten()
    net = tp.wrap(linear, size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    result = tp.lime(net, x, lambda out: out[:, 1], segments=mask, n_samples=100, alpha=0, fill=0.2)
    share = (weights * (x - 0.2)).sum(1)[0]
    truth = torch.stack([share[mask == one].sum() for one in range(9)])[mask]
    assert relative(result.values[0, 0], truth) < 1e-9
    assert result.stderr is not None
    assert result.stderr.max() < 1e-9 * truth.abs().max()  # a perfect fit


def test_the_scatter_of_lime_over_seeds_is_its_standard_error() -> None:
    x, mask = images("functional"), cells("functional", 9)
    runs = [
        tp.lime(model("functional", torch.float64), x, 3, segments=mask, n_samples=150, alpha=0.01, seed=s) for s in range(30)
    ]
    scatter = torch.stack([one.values for one in runs]).std(0).mean()
    told = torch.stack([one.stderr for one in runs if one.stderr is not None]).mean()
    assert 0.7 < told / scatter < 1.4  # a standard deviation of 30 values is known to 13 %
