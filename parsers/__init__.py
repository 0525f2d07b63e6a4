"""Pure functions from payload to ECS fields: no asyncio, no sockets, no files, no clock."""
