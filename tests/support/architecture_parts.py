"""Parts of published `config.json` and `preprocessor_config.json`, and small replacements: see
`tests/support/architectures.py`.
"""

from __future__ import annotations

from typing import Any

from ml_engine.detection.labels import COCO_NAMES

_GAPS = frozenset((0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91))
"""Numbers without a label among COCO's 91, which the first DETR keeps as `N/A`."""
_NAMES_91 = iter(COCO_NAMES)
COCO_91 = {str(index): "N/A" if index in _GAPS else next(_NAMES_91) for index in range(91)}
COCO_80 = {str(index): name for index, name in enumerate(COCO_NAMES)}

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
TIMM = {
    "use_timm_backbone": True,
    "use_pretrained_backbone": True,
    "backbone_config": None,
    "dilation": False,
}
SMALL_DETR = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_queries": 9,
}
SMALL_TIMM = {**SMALL_DETR, "backbone": "test_resnet"}
SMALL_RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage4"],
}
SMALL_HYBRID = {
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 32, 32],
    "decoder_in_channels": [32, 32, 32],
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "num_queries": 252,  # every place of an input of 96 x 128: which of nearly equal ones a runtime picks is chance
}
SMALL_RT_RESNET = {
    "model_type": "rt_detr_resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 32, 32],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage2", "stage3", "stage4"],
}
SMALL_HGNET = {
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
HGNET_B0 = {
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
HGNET_B0_TWO_LEVELS = {**HGNET_B0, "out_features": ["stage3", "stage4"]}
RF_DETR_VIT = {
    "model_type": "rf_detr_dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
}


def old_processor(family: str) -> dict[str, Any]:
    """The form of the years in which image processors were called feature extractors."""
    described = {
        "feature_extractor_type": f"{family}FeatureExtractor",
        "format": "coco_detection",
        **_IMAGENET,
    }
    return {**described, "do_normalize": True, "do_resize": True, "size": 800, "max_size": 1333}


def new_processor(
    kind: str, *, normalize: bool = True, pad: bool = False, **size: int
) -> dict[str, Any]:
    flags = {
        "do_convert_annotations": True,
        "do_normalize": normalize,
        "do_pad": pad,
        "do_rescale": True,
        "do_resize": True,
    }
    scaled = {"resample": 2, "rescale_factor": 0.00392156862745098, "format": "coco_detection"}
    return {"image_processor_type": kind, **flags, **_IMAGENET, **scaled, "size": size}


EDGES = {"shortest_edge": 96, "longest_edge": 160}
DETR = {
    "model_type": "detr",
    "architectures": ["DetrForObjectDetection"],
    "num_queries": 100,
    "auxiliary_loss": False,
}
_RT_RESNET = {
    "model_type": "rt_detr_resnet",
    "embedding_size": 64,
    "out_features": ["stage2", "stage3", "stage4"],
    "num_channels": 3,
}
RT_R18 = {
    **_RT_RESNET,
    "hidden_sizes": [64, 128, 256, 512],
    "depths": [2, 2, 2, 2],
    "layer_type": "basic",
}
RT_R50 = {
    **_RT_RESNET,
    "hidden_sizes": [256, 512, 1024, 2048],
    "depths": [3, 4, 6, 3],
    "layer_type": "bottleneck",
}
R18_NECK = {"encoder_in_channels": [128, 256, 512], "hidden_expansion": 0.5, "decoder_layers": 3}
