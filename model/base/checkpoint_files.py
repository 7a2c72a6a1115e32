"""The files of a checkpoint that are read, by name. Needs no torch, so that what lies on disk can be told before it is loaded."""

from typing import Final

CONFIG_FILE: Final = "config.json"
SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
WEIGHTS: Final = (
    SINGLE_FILE,
    INDEX_FILE,
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)  # the order of transformers
TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
GENERATION_FILE: Final = "generation_config.json"
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_FILE: Final = "adapter_model.safetensors"
ADAPTER_TORCH_FILE: Final = "adapter_model.bin"
OTHER_TRAINED: Final = "non_lora_trainables.bin"  # of the published layout of a LoRA training
RAW_FILE: Final = "UMT-L_f4_vision.pt"  # a UMT-L alone, as it is published for training
TOWER_DIRECTORY: Final = "vision_tower"  # in a checkpoint; holds config.json of a tower that has no hub id
