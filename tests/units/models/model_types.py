"""The types of models of transformers that see images, and what becomes of a checkpoint of each."""

from __future__ import annotations

from copy import deepcopy

from transformers import CONFIG_MAPPING
from transformers.models.auto import image_processing_auto, modeling_auto

from clip_image_encoder import ConfigurationError
from clip_image_encoder.checkpoint.transformers import FORMAT
from clip_image_encoder.models import find_family

from .general_models import TINY

_TASKS = (
    "BACKBONE",
    "DEPTH_ESTIMATION",
    "IMAGE",
    "IMAGE_CLASSIFICATION",
    "IMAGE_TEXT_TO_TEXT",
    "IMAGE_TO_IMAGE",
    "KEYPOINT_DETECTION",
    "KEYPOINT_MATCHING",
    "MASKED_IMAGE_MODELING",
    "MASK_GENERATION",
    "OBJECT_DETECTION",
    "SEMANTIC_SEGMENTATION",
    "UNIVERSAL_SEGMENTATION",
    "VIDEO_CLASSIFICATION",
    "VISION_2_SEQ",
    "VISUAL_QUESTION_ANSWERING",
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "ZERO_SHOT_OBJECT_DETECTION",
)
FILES = """
  align align_vision_model altclip altclip_vision_model blip chinese_clip chinese_clip_vision_model
  clip clip_text_model clip_vision_model clipseg clipseg_vision_model dinov2 dinov2_with_registers
  dinov3_vit metaclip_2 metaclip_2_text_model metaclip_2_vision_model siglip
  siglip2 siglip2_vision_model siglip_vision_model vit
"""
"""Types that a family's file answers to."""

REFUSED = {
    "its image features are tokens for a language model": """
        apertus1p5 aria aya_vision blip-2 chameleon cohere2_vision cohere_compass cosmos3_edge cosmos3_omni
        deepseek_ocr2 deepseek_vl deepseek_vl_hybrid diffusion_gemma dots3_note emu3 ernie4_5_vl_moe evolla
        exaone4_5 fast_vlm florence2 fuyu gemma3 gemma3n gemma4 gemma4_unified git glm46v glm4v glm4v_moe
        glm5_next glm_ocr glmga got_ocr2 granite4_vision granite_docling hunyuan_vl hy_v4_vl
        hyperclovax_vision_v2 idefics idefics2 idefics3 inkling2 inkling2_loop inkling_mm_model instructblip
        instructblipvideo internvl janus kimi_k25 kosmos-2 kosmos-2.5 lfm2_vl lfm3_vl lighton_ocr llama4
        llava llava_next llava_next_video llava_onevision minicpm_ocr minicpmv4_6 minicpmv4_7 minimax_m3_vl
        mistral3 mistral4 mistral_large4 mllama molmo2 muse_glimmer muse_spark nemotron_h_omni ovis2
        paddleocr_vl paligemma perception_lm pi0 pix2struct pixtral pp_chart2table pp_formulanet qianfan_ocr
        qwen2_5_omni_thinker qwen2_5_vl qwen2_vl qwen3_5 qwen3_5_moe qwen3_omni_moe_thinker qwen3_vl
        qwen3_vl_moe qwen4_exp shieldgemma2 smolvlm step3p7 t5gemma2 udop unlimited_ocr video_llama_3
        video_llava vipllava vision-encoder-decoder
    """,
    "it is a language model": "phi4_multimodal qwen2_5_omni qwen3_omni_moe",
    "it finds objects in images": """
        conditional_detr d_fine dab-detr deformable_detr deimv2 deta detr grounding-dino lw_detr
        mm-grounding-dino omdet-turbo pp_doclayout_v2 pp_doclayout_v3 pp_doclayout_v4 pp_ocrv5_mobile_det
        pp_ocrv5_server_det pp_ocrv6_small_det rf_detr rt_detr rt_detr_v2 table-transformer
    """,
    "it finds the outlines of objects": """
        edgetam edgetam_video eomt eomt_dinov3 mask2former maskformer oneformer sam sam2 sam2_video
        sam3_tracker sam3_video sam_hq videomt
    """,
    "it takes videos, no images": "timesformer videomae videoprism_vision_model vivit vjepa2",
    "it estimates depth": """
        chmv2 depth_anything depth_pro glpn prompt_depth_anything tipsv2_dpt zoedepth
    """,
    "it compares the points of two images": "efficientloftr lightglue superglue",
    "it finds points in images": "superpoint",
    "it makes images of images": "swin2sr",
    "there is no pooled output": """
        cvt data2vec-vision efficientformer hgnet_v2 ijepa internvl_vision mgp-str pixtral poolformer
        pp_ocrv5_mobile_rec pp_ocrv5_server_rec pp_ocrv6_small_rec pp_ocrv6_tiny_rec pvt pvt_v2
        qianfan_ocr_vision sam2_vision_model sam3_vision_model sam_hq_vision_model sam_vision_model
        segformer swiftformer vit_mae vit_msn vitdet
    """,
    "gives features of shape": "flava textnet",
    "makes image features for a network that follows": """
        embedding_gemma2 glm_image granitevision neomme sam3_tracker_video t5gemma2_encoder ultravbert
    """,
    "gives no vector of an image alone": """
        cosmos3_edge_vision glm_image_vision hunyuan_vl_vision hy_v4_vl_vision inkling2_vision
        minicpm_ocr_vision minicpmv4_7_vision muse_glimmer_vision muse_spark_vision sam3 sam3_lite_text
        seggpt tvlt uvdoc video_llama_3_vision
    """,
    "takes no images": """
        bridgetower cohere_compass_vision exaone4_5_vision gemma4_vision glm4v_moe_vision glm4v_vision
        glm5_next_vision glm_image_text glm_image_vqmodel glm_ocr_vision granite_docling_vision
        idefics3_vision imagegpt kimi_k25_vision layoutlmv2 layoutlmv3 lfm3_vl_vision perceiver
        qwen2_5_vl_vision qwen3_5_moe_vision qwen3_5_vision qwen3_vl_moe_vision qwen3_vl_vision
        qwen4_exp_vision smolvlm_vision tvp videoprism vilt xclip
    """,
    "transformers has no class for it": """
        altclip_text_model apertus1p5_vision_tokenizer blip_2_vision_model blip_vision_model
        bridgetower_vision_model chinese_clip_text_model clipseg_text_model colpali colqwen2
        deepseek_ocr2_sam_vision_model deepseek_ocr2_vision dots3_note_vision_encoder ernie4_5_vl_moe_vision
        flava_image_codebook flava_image_model florence_vision gemma4_unified_vision git_vision_model
        got_ocr2_vision granite4_vision_text groupvit_vision_model idefics2_vision idefics_vision
        inkling_vision instructblip_vision_model instructblipvideo_vision_model janus_vision_model
        kosmos_2_5_vision_model kosmos_2_vision_model layoutxlm llama4_vision_model lw_detr_vit
        minicpmv4_6_vision minimax_m3_vl_vision mllama_vision_model molmo2_vision ovis2_vision
        owlv2_vision_model owlvit_vision_model paddleocr_vl_vision phi4_multimodal_vision
        pix2struct_vision_model pp_chart2table_vision pp_formulanet_vision pp_lcnet pp_lcnet_v3 pp_lcnet_v4
        qwen2_5_omni_vision_encoder qwen2_vl_vision qwen3_omni_moe_vision_encoder rf_detr_dinov2
        rt_detr_resnet slanet slanext slanext_vision step3p5_vision trocr unlimited_ocr_sam_vision_model
        unlimited_ocr_vision unlimited_ocr_vision_encoder upernet uvdoc_backbone vitmatte vitpose
        vitpose_backbone xclip_text_model xclip_vision_model
    """,
    "it is built on another checkpoint": "timm_backbone",
    "python -m pip install timm": "timm_backbone edgetam_vision_model gemma3n_vision timm_wrapper",
    "python -m pip install natten": "dinat nat",
    "config.json is invalid": "edgetam_vision_model nougat phi4_multimodal pp_ocrv6_medium_det vit_hybrid",
}
"""Words of the reason for which a type is refused, and the types; one may be refused for two, by two transformers."""

_WORDS = ("clip", "image", "vision")


def walked() -> list[str]:
    """Return each type of model that transformers has for images, or for images and texts."""
    mappings = [getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", {}) for task in _TASKS]
    mappings.append(vars(image_processing_auto)["IMAGE_PROCESSOR_MAPPING_NAMES"])
    named = [name for name in CONFIG_MAPPING if any(word in name for word in _WORDS)]
    return sorted({name for names in (*mappings, named) for name in names if name in CONFIG_MAPPING})


def stated() -> dict[str, list[str]]:
    """Return what is stated of each type: "file", "door", or words of the reason why it is refused."""
    table: dict[str, list[str]] = {name: ["file"] for name in FILES.split()} | {name: ["door"] for name in TINY}
    for words, names in REFUSED.items():
        for name in names.split():
            table.setdefault(name, []).append(words)
    return table


def outcome(model_type: str) -> str:
    """Return "file", "door" or the reason of a refusal; a type that is not tiny here has transformers' defaults."""
    try:
        find_family(model_type)
    except ConfigurationError:
        config = deepcopy({"model_type": model_type, **TINY.get(model_type, {})})
    else:
        return "file"
    try:
        return "door" if FORMAT.vision(config, "name").through else "file"
    except ConfigurationError as error:
        return str(error)
