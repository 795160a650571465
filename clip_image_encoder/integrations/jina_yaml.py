"""Conversion of Flow YAML that was written for Jina 2 and its Hub to Jina 3."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import yaml
from jina.jaml import JAML

__all__ = ["convert_flow_yaml"]

_NEW_NAMES = {
    "parallel": "replicas",
    "override_with": "uses_with",
    "default_batch_size": "batch_size",
    "default_traversal_paths": "traversal_paths",
}


def convert_flow_yaml(text: str) -> str:
    r"""Convert the YAML of a Flow for Jina 2 or 3 to Jina 3, with this package's executors in the place of the Hub's.

    Without the conversion, Jina 3 ignores `pods:` silently, and starts a Flow without executors.

    Args:
        text: Content of a YAML file whose executors come from Jina Hub, under `pods:` or `executors:`.

    Example:
        >>> from clip_image_encoder.integrations.jina_yaml import convert_flow_yaml
        >>> print(convert_flow_yaml("jtype: Flow\npods: [{uses: 'jinahub+docker://CLIPImageEncoder/gpu'}]"))
        jtype: Flow
        executors:
        - uses: clip_image_encoder.integrations.jina.CLIPImageEncoder
        <BLANKLINE>
    """
    flow: dict[str, Any] = JAML.load_no_tags(io.StringIO(text))
    if "pods" in flow:
        flow["executors"] = flow.pop("pods")
    flow["executors"] = [_converted(entry) for entry in flow.get("executors", [])]
    converted: str = yaml.safe_dump(flow, sort_keys=False)
    return converted


def _converted(entry: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {_NEW_NAMES.get(name, name): value for name, value in entry.items()}
    uses = renamed.get("uses")
    if isinstance(uses, Mapping):
        renamed |= {"uses": uses.get("jtype"), "uses_with": uses.get("with", {})}
    name = str(renamed.get("uses")).split("://")[-1].split("/")[0].split(":")[0]
    if name in ("CLIPImageEncoder", "CLIPTextEncoder"):
        renamed["uses"] = f"clip_image_encoder.integrations.jina.{name}"
        # These settings are for containers only.
        renamed = {key: value for key, value in renamed.items() if key not in ("volumes", "gpus")}
    if "uses_with" in renamed:
        arguments = renamed["uses_with"]
        renamed["uses_with"] = {_NEW_NAMES.get(key, key): value for key, value in arguments.items()}
    return renamed
