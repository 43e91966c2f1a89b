"""CAMs from principal components: the map that explains most variance of a layer's channels over places.

The sign of a principal component is arbitrary. Here the model decides it: of the positive and the negative part of the map,
the one that keeps the higher score when only its places remain at the layer becomes the positive one. So the map does not
depend on the order or the signs of the channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import LayerName
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.resume import resume
from tapetum.engines.scores import ModelScore
from tapetum.progress import track
from tapetum.types import Batch, MethodError, Range

Kernel: TypeAlias = Literal["sigmoid", "rbf", "linear", "cosine"]

MOST_PLACES = 4096
"""Largest number of places for kernel PCA, which compares all pairs: 64 x 64 places make a matrix of 128 MiB."""


@attribution(cite="muhammad2020eigencam", reduce="positive", laws=("map_of_layer", "forward_only"))
def eigen_cam(score: ModelScore, images: Tensor, *, layer: LayerName, batch: Batch = "auto") -> Tensor:
    """The pattern that most of the layer's channels share: what stands out in the image for the network.

    values = (A - mean) v, with A (places, channels) less each channel's mean and v its first right singular vector; a
    principal component without a sign of its own. The class decides only the sign: the part of the map, positive or
    negative, whose places alone keep the higher score at the layer is shown as positive. The paper does not subtract the
    mean, which mostly shows where anything is active; the reference library grad-cam does, and so do we.

    Args:
        batch: no effect: images are worked on one by one, in two passes from the layer on.

    Example:
        >>> tp.eigen_cam(model, images)
    """
    return _with_the_models_sign(score, images, layer, lambda _, maps: _component(maps))


@attribution(cite="gildenblat2021gradcam", reduce="positive", laws=("class_sensitive", "map_of_layer"))
def eigen_grad_cam(score: ModelScore, images: Tensor, *, layer: LayerName, batch: Batch = "auto") -> Tensor:
    """The pattern that the contributions of most channels to the score share: Eigen-CAM of gradient times activation.

    values = (G - mean) v with G = d score / d A * A as (places, channels) less each channel's mean, v its first right
    singular vector; the sign is found as in `eigen_cam`. There is no paper; the method is the reference library's.

    Example:
        >>> tp.eigen_grad_cam(model, images, target="tabby")
    """
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    found = [_component(one) for one in grads * maps]
    return _with_the_models_sign(score, images, layer, lambda row, _: found[row])


@attribution(cite="karmani2024kpcacam", reduce="positive", laws=("map_of_layer", "forward_only"))
def kpca_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: LayerName,
    kernel: Kernel = "sigmoid",
    gamma: Annotated[float | None, Range(1e-9, 1e3)] = None,
    batch: Batch = "auto",
) -> Tensor:
    """Eigen-CAM with a kernel: the shared pattern may depend on the channels nonlinearly.

    values = sqrt(l) u, with l, u the largest eigenvalue and its eigenvector of the doubly centred kernel matrix of all pairs
    of places x, y, vectors of channels less each channel's mean: sigmoid tanh(gamma x.y + 1), rbf exp(-gamma |x - y|^2),
    linear x.y (Eigen-CAM), cosine x.y / |x| |y|. The sign is found as in `eigen_cam`. More than 4096 places are refused.

    Args:
        kernel: sigmoid (as in the paper's code), rbf, linear, cosine.
        gamma: scale of the kernel, positive; None: 1 / channels.
        batch: no effect, as in `eigen_cam`.

    Example:
        >>> tp.kpca_cam(model, images, kernel="rbf")
    """

    def component(_: int, maps: Tensor) -> Tensor:
        height, width = maps.shape[1:]
        if height * width > MOST_PLACES:
            raise MethodError(
                f"kpca_cam compares all pairs of places: {layer} has {height} x {width}, more than {MOST_PLACES}; name a later "
                "layer or use eigen_cam"
            )
        return _kernel_component(maps, kernel, gamma or 1 / len(maps))

    return _with_the_models_sign(score, images, layer, component)


def _component(maps: Tensor) -> Tensor:
    """Returns the first principal component (h, w) of channels (c, h, w) over places; its sign is arbitrary."""
    centred = _by_place(maps)
    _, _, right = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ right[0]).view(maps.shape[1:]).to(maps)


def _by_place(maps: Tensor) -> Tensor:
    """Reshapes maps (c, h, w) to (places, channels), minus each channel's mean; half precision becomes single, for SVD."""
    rows = maps.flatten(1).T.to(torch.promote_types(maps.dtype, torch.float32))
    return rows - rows.mean(0)


def _kernel_component(maps: Tensor, kernel: Kernel, gamma: float) -> Tensor:
    rows = _by_place(maps)
    if kernel == "cosine":
        rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    products = rows @ rows.T
    if kernel == "sigmoid":
        products = (gamma * products + 1).tanh()
    if kernel == "rbf":
        squares = products.diagonal()
        products = (-gamma * (squares[:, None] + squares - 2 * products).clamp(min=0)).exp()
    centred = products - products.mean(0) - products.mean(1, keepdim=True) + products.mean()
    values, vectors = torch.linalg.eigh(centred)
    return (values[-1].clamp(min=0).sqrt() * vectors[:, -1]).view(maps.shape[1:]).to(maps)


def _with_the_models_sign(score: ModelScore, images: Tensor, layer: str, component: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Computes component(row, activation (c, h, w)) for each image, with the sign that keeps the higher score, (n, 1, h, w)."""
    signed: list[Tensor] = []
    for row in track(range(len(images)), len(images), "images"):
        tail = resume(score.take([row]), layer, images[row : row + 1])
        found = component(row, tail.activation[0])
        largest = found.abs().max().clamp(min=torch.finfo(found.dtype).tiny)
        parts = torch.stack([found.clamp(min=0), (-found).clamp(min=0)]) / largest
        with torch.no_grad():
            positive, negative = tail(tail.activation * parts[:, None])  # scores of each part's places alone
        signed.append(-found if negative > positive else found)
    return torch.stack(signed)[:, None]
