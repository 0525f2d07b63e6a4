"""From decoded records to ECS documents (version pinned in `pipelines.settings`)."""
