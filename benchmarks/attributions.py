"""Attributions against captum, grad-cam and torchcam: the same network, the same image, equal maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import captum.attr
import torch
from pytorch_grad_cam import AblationCAM, GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor
from torchcam.methods import GradCAM as TorchcamGradCAM
from torchcam.methods import ScoreCAM as TorchcamScoreCAM

import tapetum as tp
from benchmarks.harness import Pair
from tapetum.data.images import read_image
from tapetum.data.sources import packaged_photo

FLOAT = 1e-4  # float32 sums in another order; the maps are compared after scaling to [0, 1]
SAMPLED = 10.0  # another noise: the maps are not comparable, only the work is


def network(name: str) -> tuple[tp.VisionModel, Tensor, int]:
    """Random weights with batch-norm statistics of noisy copies of the cat, the cat, and its predicted class.

    The predicted class has a positive score: where it is negative, grad-cam's Ablation-CAM turns its map around.
    """
    model = tp.load(f"torchvision:{name}", weights=None, seed=0)
    images = model.preprocess(read_image(packaged_photo("cat")))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.module.train()
        model.module(images + torch.randn(8, *images.shape[1:], generator=generator))
        model.module.eval()
    with torch.no_grad():
        return model, images, int(model.module(images).argmax())


def scaled(maps: Tensor) -> Tensor:
    """To [0, 1], as the CAM libraries return their maps."""
    low = maps.amin()
    return (maps - low) / (maps.amax() - low)


def pairs(slow: bool) -> Iterator[Pair]:
    """Quick ones first; with `slow` also the ones whose peer takes minutes."""
    model, images, target = network("resnet50")
    module = model.module
    wanted = [ClassifierOutputTarget(target)]
    captum_cam = captum.attr.LayerGradCam(module, module.layer4)
    grad_cam = GradCAM(module, [module.layer4])

    def ours(method: str, **options: object) -> Callable[[], Tensor]:
        return lambda: getattr(tp, method)(model, images, target, **options).values

    def heatmap(method: str, **options: object) -> Callable[[], Tensor]:
        return lambda: scaled(getattr(tp, method)(model, images, target, **options).heatmap())

    def input_leaf() -> Tensor:
        return images.clone().requires_grad_()

    yield Pair(
        "Grad-CAM, ResNet-50",
        "grad-cam",
        heatmap("grad_cam", layer="layer4"),
        lambda: torch.from_numpy(grad_cam(images, wanted)),
        2.5,
        FLOAT,
        9,
    )
    yield Pair(
        "Grad-CAM, ResNet-50",
        "captum",
        ours("grad_cam", layer="layer4"),
        lambda: captum_cam.attribute(images, target),
        1.3,
        FLOAT,
        9,
    )
    yield Pair(
        "Grad-CAM, ResNet-50",
        "torchcam",
        lambda: scaled(tp.grad_cam(model, images, target, layer="layer4").heatmap(None)),
        lambda: _torchcam(TorchcamGradCAM, module, images, target),
        1.3,
        FLOAT,
        9,
    )
    yield Pair(
        "saliency, ResNet-50",
        "captum",
        ours("saliency"),
        lambda: captum.attr.Saliency(module).attribute(input_leaf(), target),
        1.1,
        FLOAT,
        7,
    )
    guided = captum.attr.GuidedBackprop(module)
    yield Pair(
        "guided backprop, ResNet-50",
        "captum",
        ours("guided_backprop"),
        lambda: guided.attribute(input_leaf(), target),
        1.1,
        FLOAT,
        7,
    )
    integrated = captum.attr.IntegratedGradients(module)
    yield Pair(
        "integrated gradients 50, ResNet-50",
        "captum",
        ours("integrated_gradients"),
        lambda: integrated.attribute(images, target=target),
        1.4,
        FLOAT,
        1,
    )
    smooth = captum.attr.NoiseTunnel(captum.attr.Saliency(module))
    yield Pair(
        "SmoothGrad 50, ResNet-50",
        "captum",
        ours("smooth_grad"),
        lambda: smooth.attribute(images, nt_samples=50, stdevs=0.5, target=target),
        1.4,
        SAMPLED,
        1,
    )
    windows = {"sliding_window_shapes": (3, 32, 32), "strides": (3, 16, 16)}
    occlusion = captum.attr.Occlusion(module)
    yield Pair(
        "occlusion 32/16, ResNet-50",
        "captum",
        ours("occlusion", window=32, stride=16),
        lambda: occlusion.attribute(images, target=target, **windows)[:, :1],
        1.8,
        1e-3,
        1,
    )
    if slow:
        ablation = AblationCAM(module, [module.layer4])
        yield Pair(
            "Ablation-CAM, ResNet-50 layer4",
            "grad-cam",
            heatmap("ablation_cam", layer="layer4"),
            lambda: torch.from_numpy(ablation(images, wanted)),
            100,
            FLOAT,
            1,
        )
    small, _, best = network("resnet18")
    ablation18 = AblationCAM(small.module, [small.module.layer4])
    yield Pair(
        "Ablation-CAM, ResNet-18 layer4",
        "grad-cam",
        lambda: scaled(tp.ablation_cam(small, images, best, layer="layer4").heatmap()),
        lambda: torch.from_numpy(ablation18(images, [ClassifierOutputTarget(best)])),
        20,
        FLOAT,
        1,
    )
    if slow:
        yield Pair(
            "Score-CAM, ResNet-18",
            "torchcam",
            lambda: scaled(tp.score_cam(small, images, best, layer="layer4", align_corners=False).heatmap(None)),
            lambda: _torchcam(TorchcamScoreCAM, small.module, images, best),
            1.8,
            1e-3,
            1,
        )


def _torchcam(method: type, module: torch.nn.Module, images: Tensor, target: int) -> Tensor:
    with method(module, "layer4") as extractor:
        return extractor(target, module(images))[0]
