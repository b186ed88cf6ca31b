"""Detectors as they are published, written by hand: `config.json` and `preprocessor_config.json`,
with random weights made on the spot.

The published weights cannot be fetched where this is tested. The files are written from the
configuration classes of transformers, from its scripts that converted the originals, and from what
the model cards say; a key that a published file has beyond these changes no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.architecture_parts import (
    COCO_80,
    COCO_91,
    DETR,
    EDGES,
    HGNET_B0,
    HGNET_B0_TWO_LEVELS,
    R18_NECK,
    RF_DETR_VIT,
    RT_R18,
    RT_R50,
    SMALL_DETR,
    SMALL_HGNET,
    SMALL_HYBRID,
    SMALL_RESNET,
    SMALL_RT_RESNET,
    SMALL_TIMM,
    TIMM,
    new_processor,
    old_processor,
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A detector of one family.

    Attributes:
        name: As people call it.
        published: Hub id of the checkpoint whose files are written.
        licence: Of the published weights, as the model card says.
        config: `config.json`, the labels left out. processor: `preprocessor_config.json`.
        small: What `config` becomes where the test need not be large. small_size: `size` of the
            processor then.
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


ARCHITECTURES = (
    Architecture(
        "DETR R50",
        "facebook/detr-resnet-50",
        "Apache-2.0",
        {**DETR, **TIMM, "backbone": "resnet50"},
        old_processor("Detr"),
        SMALL_TIMM,
        EDGES,
        COCO_91,
    ),
    Architecture(
        "DETR R101",
        "facebook/detr-resnet-101",
        "Apache-2.0",
        {
            **DETR,
            **TIMM,
            "backbone": "resnet101",
            "backbone_kwargs": {"in_chans": 3, "out_indices": [1, 2, 3, 4]},
        },
        old_processor("Detr"),
        SMALL_TIMM,
        EDGES,
        COCO_91,
    ),
    Architecture(
        "DETR R50, transformers' own ResNet",
        "facebook/detr-resnet-50 (revision no_timm)",
        "Apache-2.0",
        {
            **DETR,
            "use_timm_backbone": False,
            "backbone": None,
            "backbone_config": {"model_type": "resnet", "out_features": ["stage4"]},
        },
        new_processor("DetrImageProcessor", pad=True, shortest_edge=800, longest_edge=1333),
        {**SMALL_DETR, "backbone_config": SMALL_RESNET},
        EDGES,
        COCO_91,
    ),
    Architecture(
        "DETR R101, transformers' own ResNet",
        "facebook/detr-resnet-101 (revision no_timm)",
        "Apache-2.0",
        {
            **DETR,
            "use_timm_backbone": False,
            "backbone": None,
            "backbone_config": {
                "model_type": "resnet",
                "depths": [3, 4, 23, 3],
                "out_features": ["stage4"],
            },
        },
        new_processor("DetrImageProcessor", pad=True, shortest_edge=800, longest_edge=1333),
        {**SMALL_DETR, "backbone_config": {**SMALL_RESNET, "depths": [1, 1, 2, 1]}},
        EDGES,
        COCO_91,
    ),
    Architecture(
        "Conditional DETR R50",
        "microsoft/conditional-detr-resnet-50",
        "Apache-2.0",
        {"model_type": "conditional_detr", **TIMM, "backbone": "resnet50", "num_queries": 300},
        old_processor("ConditionalDetr"),
        SMALL_TIMM,
        EDGES,
        COCO_91,
    ),
    Architecture(
        "Deformable DETR R50",
        "SenseTime/deformable-detr",
        "Apache-2.0",
        {"model_type": "deformable_detr", **TIMM, "backbone": "resnet50", "num_queries": 300},
        old_processor("DeformableDetr"),
        SMALL_TIMM,
        EDGES,
        COCO_91,
    ),
    Architecture(
        "DAB-DETR R50",
        "IDEA-Research/dab-detr-resnet-50",
        "Apache-2.0",
        {
            "model_type": "dab-detr",
            **TIMM,
            "backbone": "resnet50",
            "num_queries": 300,
            "hidden_size": 256,
            "activation_function": "prelu",
        },
        new_processor(
            "ConditionalDetrImageProcessor", pad=True, shortest_edge=800, longest_edge=1333
        ),
        {
            **{key: value for key, value in SMALL_TIMM.items() if key != "d_model"},
            "hidden_size": 32,
        },
        EDGES,
        COCO_91,
    ),
    Architecture(
        "RT-DETR R50",
        "PekingU/rtdetr_r50vd",
        "Apache-2.0",
        {"model_type": "rt_detr", "backbone_config": RT_R50},
        new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {**SMALL_HYBRID, "backbone_config": SMALL_RT_RESNET},
    ),
    Architecture(
        "RT-DETRv2 R18",
        "PekingU/rtdetr_v2_r18vd",
        "Apache-2.0",
        {"model_type": "rt_detr_v2", "backbone_config": RT_R18, **R18_NECK},
        new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {**SMALL_HYBRID, "backbone_config": SMALL_RT_RESNET},
    ),
    Architecture(
        "D-FINE S",
        "ustc-community/dfine-small-coco",
        "Apache-2.0",
        {
            "model_type": "d_fine",
            "backbone_config": HGNET_B0,
            "encoder_in_channels": [256, 512, 1024],
            "hidden_expansion": 0.5,
            "depth_mult": 0.34,
            "decoder_layers": 3,
            "decoder_n_points": [3, 6, 3],
        },
        new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {**SMALL_HYBRID, "backbone_config": SMALL_HGNET},
    ),
    Architecture(
        "DEIMv2 N",
        "Intellindust/DEIMv2_HGNetv2_N_COCO",
        "Apache-2.0",
        {
            "model_type": "deimv2",
            "backbone_config": HGNET_B0_TWO_LEVELS,
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
        new_processor("RTDetrImageProcessor", normalize=False, height=640, width=640),
        {
            **{
                key: value
                for key, value in SMALL_HYBRID.items()
                if key not in ("encoder_in_channels", "decoder_in_channels")
            },
            "backbone_config": {**SMALL_HGNET, "out_features": ["stage3", "stage4"]},
            "encoder_in_channels": [32, 32],
            "decoder_in_channels": [32, 32],
            "num_queries": 60,
        },
    ),
    Architecture(
        "RF-DETR Nano",
        "Roboflow/rf-detr-nano",
        "Apache-2.0",
        {
            "model_type": "rf_detr",
            "backbone_config": {
                **RF_DETR_VIT,
                "image_size": 384,
                "patch_size": 16,
                "num_windows": 2,
                "out_features": ["stage3", "stage6", "stage9", "stage12"],
            },
            "decoder_layers": 2,
            "decoder_n_points": 2,
        },
        new_processor("RfDetrImageProcessor", height=384, width=384),
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
                **RF_DETR_VIT,
                "image_size": 518,
                "patch_size": 14,
                "num_windows": 4,
                "out_features": ["stage2", "stage5", "stage8", "stage11"],
            },
            "decoder_layers": 3,
            "decoder_n_points": 2,
        },
        new_processor("DetrImageProcessor", pad=True, height=560, width=560),
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
        new_processor("DeformableDetrImageProcessor", pad=True, height=640, width=640),
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
        old_processor("Yolos"),
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "image_size": [96, 160],
        },
        EDGES,
        COCO_91,
    ),
)
