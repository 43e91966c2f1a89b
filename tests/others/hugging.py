"""Hugging Face's classifiers with small configurations and random weights: one row a family."""

from __future__ import annotations

from typing import Any

import torch
import transformers as T
from row import Other
from torch import nn

VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
FOUR = {"hidden_sizes": [8, 12, 12, 16], "depths": [1, 1, 1, 1]}
SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "patch_size": 2}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "beit": ("Beit", {"image_size": 32, "patch_size": 8, **VIT}),
    "beit_token": ("Beit", {"image_size": 32, "patch_size": 8, "use_mean_pooling": False, **VIT}),
    "bit": ("Bit", {"embedding_size": 8, "num_groups": 4, **FOUR}),
    "clip": ("CLIP", {"vision_config": {"image_size": 32, "patch_size": 8, **VIT}, "text_config": VIT}),
    "convnext": ("ConvNext", {"patch_size": 2, **FOUR}),
    "convnextv2": ("ConvNextV2", {"patch_size": 2, **FOUR}),
    "cvt": ("Cvt", {"embed_dim": [8, 12, 16], "num_heads": [1, 2, 2], "depth": [1, 2, 3]}),
    "data2vec_vision": ("Data2VecVision", {"image_size": 32, "patch_size": 8, **VIT}),
    "deit": ("DeiT", {"image_size": 32, "patch_size": 8, **VIT}),
    "dinov2": ("Dinov2", {"image_size": 32, "patch_size": 8, **VIT}),
    "dinov2_with_registers": ("Dinov2WithRegisters", {"image_size": 32, "patch_size": 8, **VIT}),
    "donut_swin": ("DonutSwin", {"image_size": 32, **SWIN}),
    "efficientnet": (
        "EfficientNet",
        {
            "image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320,
            "in_channels": [32, 16, 24], "out_channels": [16, 24, 40], "kernel_sizes": [3, 3, 5], "strides": [1, 2, 2],
            "num_block_repeats": [1, 1, 1], "expand_ratios": [1, 2, 2], "depthwise_padding": [], "dropout_rate": 0.0,
        },
    ),
    "focalnet": (
        "FocalNet",
        {
            "image_size": 32, "patch_size": 2, "embed_dim": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
            "focal_levels": [1, 1], "focal_windows": [3, 3],
        },
    ),
    "hgnet_v2": (
        "HGNetV2",
        {
            "embedding_size": 8, "depths": [1, 1], "hidden_sizes": [8, 16], "stem_channels": [3, 6, 8],
            "stage_in_channels": [8, 8], "stage_mid_channels": [6, 6], "stage_out_channels": [8, 16],
            "stage_num_blocks": [1, 1], "stage_downsample": [False, True], "stage_light_block": [False, False],
            "stage_kernel_size": [3, 3], "stage_numb_of_layers": [2, 2],
        },
    ),
    "hiera": (
        "Hiera",
        {
            "image_size": [32, 32], "embed_dim": 8, "patch_size": [3, 3], "patch_stride": [2, 2], "patch_padding": [1, 1],
            "masked_unit_size": [4, 4], "depths": [1, 1], "num_heads": [1, 2], "embed_dim_multiplier": 2.0,
            "num_query_pool": 1, "masked_unit_attention": [True, False],
        },
    ),
    "ijepa": ("IJepa", {"image_size": 32, "patch_size": 8, **VIT}),
    "imagegpt": ("ImageGPT", {"vocab_size": 20, "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}),
    "levit": (
        "Levit",
        {
            "image_size": 64, "hidden_sizes": [16, 16, 16], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1],
            "key_dim": [4, 4, 4], "drop_path_rate": 0, "patch_size": 16,
        },
    ),
    "mobilenet_v1": ("MobileNetV1", {"image_size": 64, "depth_multiplier": 0.25, "min_depth": 4}),
    "mobilenet_v2": (
        "MobileNetV2",
        {"image_size": 64, "depth_multiplier": 0.25, "min_depth": 4, "depth_divisible_by": 4, "finegrained_output": False},
    ),
    "mobilevit": (
        "MobileViT",
        {"image_size": 64, "hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [4, 4, 6, 8, 8, 8, 16], "num_attention_heads": 2},
    ),
    "mobilevitv2": ("MobileViTV2", {"image_size": 64, "width_multiplier": 0.25}),
    "perceiver": (
        "Perceiver",
        {"image_size": 32, "num_latents": 6, "d_latents": 16, "d_model": 16, "num_blocks": 1, "num_self_attends_per_block": 1,
         "num_self_attention_heads": 2, "num_cross_attention_heads": 1},
    ),
    "poolformer": ("PoolFormer", {**FOUR, "patch_sizes": [3, 2, 2, 2], "strides": [2, 2, 2, 2], "padding": [1, 0, 0, 0],
                                  "mlp_ratio": 2.0}),
    "pp_lcnet": ("PPLCNet", {"scale": 0.25}),
    "pvt": ("Pvt", {"image_size": 64, **FOUR, "num_attention_heads": [1, 1, 2, 2], "sequence_reduction_ratios": [4, 2, 1, 1]}),
    "pvt_v2": ("PvtV2", {"image_size": 64, **FOUR, "num_attention_heads": [1, 1, 2, 2], "sr_ratios": [4, 2, 1, 1],
                         "mlp_ratios": [2, 2, 2, 2]}),
    "regnet": ("RegNet", {"embedding_size": 8, "groups_width": 4, "layer_type": "y", **FOUR}),
    "resnet": ("ResNet", {"embedding_size": 8, "layer_type": "basic", **FOUR}),
    "resnet_bottleneck": ("ResNet", {"embedding_size": 8, "hidden_sizes": [8, 24], "depths": [1, 1]}),
    "segformer": (
        "Segformer",
        {"image_size": 32, **FOUR, "num_attention_heads": [1, 1, 2, 2], "sr_ratios": [4, 2, 1, 1]},
    ),
    "siglip": ("Siglip", {"vision_config": {"image_size": 32, "patch_size": 8, **VIT}, "text_config": VIT}),
    "siglip2": ("Siglip2", {"vision_config": {"patch_size": 8, "num_patches": 16, **VIT}, "text_config": VIT}),
    "swiftformer": ("SwiftFormer", {"image_size": 64, "embed_dims": [8, 12, 12, 16], "depths": [1, 1, 1, 1]}),
    "swin": ("Swin", {"image_size": 32, **SWIN}),
    "swinv2": ("Swinv2", {"image_size": 32, **SWIN}),
    "textnet": (
        "TextNet",
        {
            "hidden_sizes": [8, 8, 12, 12, 16], "conv_layer_kernel_sizes": [[[3, 3]], [[3, 3]], [[3, 1]], [[1, 3]]],
            "conv_layer_strides": [[2], [1], [2], [1]], "stem_out_channels": 8,
        },
    ),
    "vit": ("ViT", {"image_size": 32, "patch_size": 8, **VIT}),
    "vit_msn": ("ViTMSN", {"image_size": 32, "patch_size": 8, **VIT}),
}  # fmt: skip

CLASSES = {
    "perceiver": "PerceiverForImageClassificationLearned",
    "perceiver_convolution": "PerceiverForImageClassificationConvProcessing",
    "deit_with_teacher": "DeiTForImageClassificationWithTeacher",
    "levit_with_teacher": "LevitForImageClassificationWithTeacher",
}
"""Where a family has more than one class, or another name."""


def made(family: str, seed: int = 0) -> nn.Module:
    """The classifier of a family with weights large enough that its answers differ."""
    bare = family.partition("_with_teacher")[0].partition("_convolution")[0]
    kind, options = FAMILIES[bare]
    config = getattr(T, f"{kind}Config")(**{"num_labels": 5, **options})
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = getattr(T, CLASSES.get(family, f"{kind}ForImageClassification"))(config)
        return drawn(module).eval()


def drawn(module: nn.Module) -> nn.Module:
    """Theirs start so close to zero that all pictures get the same answer."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.2 * weight[0].numel() ** -0.5)
            elif name.endswith("bias"):
                weight.normal_(std=0.1)
            else:
                weight.normal_(1, 0.1)
    return module


def timm_wrapper() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = T.TimmWrapperConfig.from_dict({"architecture": "resnet10t", "num_classes": 5, "num_labels": 5})
        return drawn(T.TimmWrapperForImageClassification(config)).eval()


def _side(family: str) -> int:
    options = FAMILIES.get(family.partition("_with_teacher")[0].partition("_convolution")[0], ("", {}))[1]
    side = options.get("image_size", 64 if family in ("textnet", "pp_lcnet", "timm_wrapper", "cvt") else 32)
    return side if isinstance(side, int) else side[0]


HUGGING = {
    **{
        family: Other(lambda family=family: made(family), (3, _side(family), _side(family)))
        for family in (*FAMILIES, "deit_with_teacher", "levit_with_teacher")
    },
    "timm_wrapper": Other(timm_wrapper, (3, 64, 64)),
}
