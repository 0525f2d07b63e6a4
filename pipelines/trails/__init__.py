"""Trails: what Engines, API servers and sensors tell of what was done, by the encoding in which it comes.

Each is one module, and one row here.
"""

from collections.abc import Mapping
from typing import Final

from pipelines.trails import docker, json_records, kubernetes_audit
from pipelines.trails.trail import Trail

TRAILS: Final[Mapping[str, Trail]] = {
    docker.ENCODING: docker.TRAIL,
    json_records.ENCODING: json_records.TRAIL,
    kubernetes_audit.ENCODING: kubernetes_audit.TRAIL,
}
