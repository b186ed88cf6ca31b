"""Detectors as they are published, written by hand: `config.json` and `preprocessor_config.json`, with random weights made on the spot.

The published weights cannot be fetched where this is tested. The files are written from the configuration classes of transformers, from its
scripts that converted the originals, and from what the model cards say; a key that a published file has beyond these changes no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_engine.labels import COCO_NAMES

_GAPS = frozenset((0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91))
"""Numbers without a label among COCO's 91, which the first DETR keeps as `N/A`."""
_NAMES_91 = iter(COCO_NAMES)
COCO_91 = {str(index): "N/A" if index in _GAPS else next(_NAMES_91) for index in range(91)}
COCO_80 = {str(index): name for index, name in enumerate(COCO_NAMES)}

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_TIMM = {"use_timm_backbone": True, "use_pretrained_backbone": True, "backbone_config": None, "dilation": False}
_SMALL_DETR = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_queries": 9,
}
_SMALL_TIMM = {**_SMALL_DETR, "backbone": "test_resnet"}
_SMALL_RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage4"],
}
_SMALL_HYBRID = {
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 32, 32],
    "decoder_in_channels": [32, 32, 32],
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "num_queries": 30,
}
_SMALL_RT_RESNET = {
    "model_type": "rt_detr_resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 32, 32],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage2", "stage3", "stage4"],
}
_SMALL_HGNET = {
    "model_type": "hgnet_v2",
    "depths": [1, 1, 1, 1],
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 32, 32],
    "out_features": ["stage2", "stage3", "stage4"],
    "stage_downsample": [False, True, True, True],
    "stage_downsample_strides": [2, 2, 2, 2],
    "stage_in_channels": [8, 8, 16, 32],
    "stage_kernel_size": [3, 3, 5, 5],
    "stage_light_block": [False, False, True, True],
    "stage_mid_channels": [8, 8, 8, 8],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [2, 2, 2, 2],
    "stage_out_channels": [8, 16, 32, 32],
    "stem_channels": [3, 8, 8],
    "stem_strides": [2, 1, 1, 2, 1],
    "use_learnable_affine_block": True,
}
_HGNET_B0 = {
    "model_type": "hgnet_v2",
    "depths": [3, 4, 6, 3],
    "embedding_size": 32,
    "hidden_act": "relu",
    "hidden_sizes": [128, 256, 512, 1024],
    "out_features": ["stage2", "stage3", "stage4"],
    "stage_downsample": [False, True, True, True],
    "stage_downsample_strides": [2, 2, 2, 2],
    "stage_in_channels": [16, 64, 256, 512],
    "stage_kernel_size": [3, 3, 5, 5],
    "stage_light_block": [False, False, True, True],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "stage_out_channels": [64, 256, 512, 1024],
    "stem_channels": [3, 16, 16],
    "stem_strides": [2, 1, 1, 2, 1],
    "use_learnable_affine_block": True,
}
_HGNET_B0_TWO_LEVELS = {**_HGNET_B0, "out_features": ["stage3", "stage4"]}
_RF_DETR_VIT = {
    "model_type": "rf_detr_dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
}


def _old_processor(family: str) -> dict[str, Any]:
    """The form of the years in which image processors were called feature extractors."""
    described = {"feature_extractor_type": f"{family}FeatureExtractor", "format": "coco_detection", **_IMAGENET}
    return {**described, "do_normalize": True, "do_resize": True, "size": 800, "max_size": 1333}


def _new_processor(kind: str, *, normalize: bool = True, pad: bool = False, **size: int) -> dict[str, Any]:
    flags = {"do_convert_annotations": True, "do_normalize": normalize, "do_pad": pad, "do_rescale": True, "do_resize": True}
    scaled = {"resample": 2, "rescale_factor": 0.00392156862745098, "format": "coco_detection"}
    return {"image_processor_type": kind, **flags, **_IMAGENET, **scaled, "size": size}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A detector of one family.

    Attributes:
        name: As people call it.
        published: Hub id of the checkpoint whose files are written.
        licence: Of the published weights, as the model card says.
        config: `config.json`, the labels left out. processor: `preprocessor_config.json`.
        small: What `config` becomes where the test need not be large. small_size: `size` of the processor then.
        labels: `id2label`.
    """

    name: str
    published: str
    licence: str
    config: Mapping[str, Any]
    processor: Mapping[str, Any]
    small: Mapping[str, Any]
    small_size: Mapping[str, int] = field(default_factory=lambda: {"height": 96, "width": 128})
    labels: Mapping[str, str] = field(default_factory=lambda: COCO_80)


_EDGES = {"shortest_edge": 96, "longest_edge": 160}
_DETR = {"model_type": "detr", "architectures": ["DetrForObjectDetection"], "num_queries": 100, "auxiliary_loss": False}
_RT_RESNET = {"model_type": "rt_detr_resnet", "embedding_size": 64, "out_features": ["stage2", "stage3", "stage4"], "num_channels": 3}
_RT_R18 = {**_RT_RESNET, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
_RT_R50 = {**_RT_RESNET, "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3], "layer_type": "bottleneck"}
_R18_NECK = {"encoder_in_channels": [128, 256, 512], "hidden_expansion": 0.5, "decoder_layers": 3}

ARCHITECTURES = (
    Architecture(
        "DETR R50",
        "facebook/detr-resnet-50",
        "Apache-2.0",
        {**_DETR, **_TIMM, "backbone": "resnet50"},
        _old_processor("Detr"),
        _SMALL_TIMM,
        _EDGES,
        COCO_91,
    ),
    Architecture(
        "DETR R101",
        "facebook/detr-resnet-101",
        "Apache-2.0",
        {**_DETR, **_TIMM, "backbone": "resnet101", "backbone_kwargs": {"in_chans": 3, "out_indices": [1, 2, 3, 4]}},
        _old_processor("Detr"),
        _SMALL_TIMM,
        _EDGES,
        COCO_91,
    ),
    Architecture(
        "DETR R50, transformers' own ResNet",
        "facebook/detr-resnet-50 (revision no_timm)",
        "Apache-2.0",
        {**_DETR, "use_timm_backbone": False, "backbone": None, "backbone_config": {"model_type": "resnet", "out_features": ["stage4"]}},
        _new_processor("DetrImageProcessor", pad=True, shortest_edge=800, longest_edge=1333),
        {**_SMALL_DETR, "backbone_config": _SMALL_RESNET},
        _EDGES,
        COCO_91,
    ),
    Architecture(
        "DETR R101, transformers' own ResNet",
        "facebook/detr-resnet-101 (revision no_timm)",
        "Apache-2.0",
        {
            **_DETR,
            "use_timm_backbone": False,
            "backbone": None,
            "backbone_config": {"model_type": "resnet", "depths": [3, 4, 23, 3], "out_features": ["stage4"]},
        },
        _new_processor("DetrImageProcessor", pad=True, shortest_edge=800, longest_edge=1333),
        {**_SMALL_DETR, "backbone_config": {**_SMALL_RESNET, "depths": [1, 1, 2, 1]}},
        _EDGES,
        COCO_91,
    ),
    Architecture(
        "Conditional DETR R50",
        "microsoft/conditional-detr-resnet-50",
        "Apache-2.0",
        {"model_type": "conditional_detr", **_TIMM, "backbone": "resnet50", "num_queries": 300},
        _old_processor("ConditionalDetr"),
        _SMALL_TIMM,
        _EDGES,
        COCO_91,
    ),
    Architecture(
        "Deformable DETR R50",
        "SenseTime/deformable-detr",
        "Apache-2.0",
        {"model_type": "deformable_detr", **_TIMM, "backbone": "resnet50", "num_queries": 300},
        _old_processor("DeformableDetr"),
        _SMALL_TIMM,
        _EDGES,
        COCO_91,
    ),
    Architecture(
        "DAB-DETR R50",
        "IDEA-Research/dab-detr-resnet-50",
        "Apache-2.0",
        {"model_type": "dab-detr", **_TIMM, "backbone": "resnet50", "num_queries": 300, "hidden_size": 256, "activation_function": "prelu"},
        _new_processor("ConditionalDetrImageProcessor", pad=True, shortest_edge=800, longest_edge=1333),
        {**{key: value for key, value in _SMALL_TIMM.items() if key != "d_model"}, "hidden_size": 32},
        _EDGES,
        COCO_91,
    ),
    Architecture(
        "RT-DETR R50",
        "PekingU/rtdetr_r50vd",
        "Apache-2.0",
        {"model_type": "rt_detr", "backbone_config": _RT_R50},
        _new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {**_SMALL_HYBRID, "backbone_config": _SMALL_RT_RESNET},
    ),
    Architecture(
        "RT-DETRv2 R18",
        "PekingU/rtdetr_v2_r18vd",
        "Apache-2.0",
        {"model_type": "rt_detr_v2", "backbone_config": _RT_R18, **_R18_NECK},
        _new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {**_SMALL_HYBRID, "backbone_config": _SMALL_RT_RESNET},
    ),
    Architecture(
        "D-FINE S",
        "ustc-community/dfine-small-coco",
        "Apache-2.0",
        {
            "model_type": "d_fine",
            "backbone_config": _HGNET_B0,
            "encoder_in_channels": [256, 512, 1024],
            "hidden_expansion": 0.5,
            "depth_mult": 0.34,
            "decoder_layers": 3,
            "decoder_n_points": [3, 6, 3],
        },
        _new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {**_SMALL_HYBRID, "backbone_config": _SMALL_HGNET},
    ),
    Architecture(
        "DEIMv2 N",
        "Intellindust/DEIMv2_HGNetv2_N_COCO",
        "Apache-2.0",
        {
            "model_type": "deimv2",
            "backbone_config": _HGNET_B0_TWO_LEVELS,
            "d_model": 128,
            "encoder_hidden_dim": 128,
            "encoder_in_channels": [512, 1024],
            "decoder_in_channels": [128, 128],
            "feat_strides": [16, 32],
            "num_feature_levels": 2,
            "encode_proj_layers": [1],
            "encoder_ffn_dim": 512,
            "decoder_ffn_dim": 512,
            "hidden_expansion": 0.34,
            "depth_mult": 0.5,
            "decoder_layers": 3,
            "decoder_n_points": [6, 6],
        },
        _new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {
            **{key: value for key, value in _SMALL_HYBRID.items() if key not in ("encoder_in_channels", "decoder_in_channels")},
            "backbone_config": {**_SMALL_HGNET, "out_features": ["stage3", "stage4"]},
            "encoder_in_channels": [32, 32],
            "decoder_in_channels": [32, 32],
        },
    ),
    Architecture(
        "RF-DETR Nano",
        "Roboflow/rf-detr-nano",
        "Apache-2.0",
        {
            "model_type": "rf_detr",
            "backbone_config": {
                **_RF_DETR_VIT,
                "image_size": 384,
                "patch_size": 16,
                "num_windows": 2,
                "out_features": ["stage3", "stage6", "stage9", "stage12"],
            },
            "decoder_layers": 2,
            "decoder_n_points": 2,
        },
        _new_processor("RfDetrImageProcessor", height=384, width=384),
        {
            "backbone_config": {
                "model_type": "rf_detr_dinov2",
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 128,
                "patch_size": 16,
                "num_windows": 2,
                "out_features": ["stage1", "stage2"],
            },
            "d_model": 32,
            "decoder_self_attention_heads": 2,
            "decoder_cross_attention_heads": 2,
            "decoder_ffn_dim": 32,
            "num_queries": 30,
        },
        {"height": 128, "width": 128},
        COCO_91,
    ),
    Architecture(
        "RF-DETR Base",
        "Roboflow/rf-detr-base",
        "Apache-2.0",
        {
            "model_type": "rf_detr",
            "backbone_config": {
                **_RF_DETR_VIT,
                "image_size": 518,
                "patch_size": 14,
                "num_windows": 4,
                "out_features": ["stage2", "stage5", "stage8", "stage11"],
            },
            "decoder_layers": 3,
            "decoder_n_points": 2,
        },
        _new_processor("DetrImageProcessor", pad=True, height=560, width=560),
        {
            "backbone_config": {
                "model_type": "rf_detr_dinov2",
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 140,
                "patch_size": 14,
                "num_windows": 4,
                "out_features": ["stage1", "stage2"],
            },
            "d_model": 32,
            "decoder_self_attention_heads": 2,
            "decoder_cross_attention_heads": 2,
            "decoder_ffn_dim": 32,
            "num_queries": 30,
        },
        {"height": 112, "width": 112},
        COCO_91,
    ),
    Architecture(
        "LW-DETR Tiny",
        "AnnaZhang/lwdetr_tiny_60e_coco",
        "Apache-2.0",
        {
            "model_type": "lw_detr",
            "backbone_config": {
                "model_type": "lw_detr_vit",
                "image_size": 1024,
                "hidden_size": 192,
                "num_hidden_layers": 6,
                "num_attention_heads": 12,
                "window_block_indices": [0, 2, 4],
                "out_indices": [1, 3, 5],
            },
            "projector_scale_factors": [1.0],
            "num_queries": 100,
            "decoder_n_points": 2,
        },
        _new_processor("DeformableDetrImageProcessor", pad=True, height=640, width=640),
        {
            "backbone_config": {
                "model_type": "lw_detr_vit",
                "image_size": 256,
                "hidden_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "window_block_indices": [0],
                "out_indices": [0, 1],
            },
            "d_model": 32,
            "decoder_self_attention_heads": 2,
            "decoder_cross_attention_heads": 2,
            "decoder_ffn_dim": 32,
            "num_queries": 30,
        },
        {"height": 128, "width": 128},
        COCO_91,
    ),
    Architecture(
        "YOLOS Tiny",
        "hustvl/yolos-tiny",
        "Apache-2.0",
        {
            "model_type": "yolos",
            "hidden_size": 192,
            "num_hidden_layers": 12,
            "num_attention_heads": 3,
            "intermediate_size": 768,
            "image_size": [800, 1333],
            "use_mid_position_embeddings": False,
        },
        _old_processor("Yolos"),
        {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "image_size": [96, 160]},
        _EDGES,
        COCO_91,
    ),
)


def write_checkpoint(architecture: Architecture, folder: Path, *, small: bool, seed: int = 1) -> int:
    """Write a checkpoint's files as they are published, with random weights.

    Args:
        architecture: Which.
        folder: Made if missing.
        small: Fewer and narrower layers, and a small input.
        seed: Of the weights.

    Returns:
        The number of the network's parameters.
    """
    import torch
    from transformers import AutoConfig, AutoModelForObjectDetection

    from ml_engine.runtimes.torch_runtime import quiet

    config = {**architecture.config, **(architecture.small if small else {})}
    processor = dict(architecture.processor)
    if small:
        processor["size"] = dict(architecture.small_size)
        processor.pop("max_size", None)
    described = {**config, "id2label": dict(architecture.labels), "transformers_version": "4.30.0"}
    # What transformers would ask the hub for is left out of what the weights are made from; the file keeps it.
    made_from = {key: value for key, value in described.items() if key not in ("model_type", "backbone_kwargs", "transformers_version")}
    torch.manual_seed(seed)
    with quiet():
        network = AutoModelForObjectDetection.from_config(AutoConfig.for_model(config["model_type"], **made_from))
        _spread(network)
        network.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return sum(parameter.numel() for parameter in network.parameters())


def _spread(network: Any) -> None:
    """Fresh weights give every query nearly the same score and box, which would hide a wrong order: spread the last layer's."""
    import torch

    for name, parameter in network.named_parameters():
        if "class" in name and name.endswith("weight") and parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.5)
